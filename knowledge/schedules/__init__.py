"""What is to be published when: schedules as rows that any number of processes may claim."""
