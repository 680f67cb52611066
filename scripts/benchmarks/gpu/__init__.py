"""What `gpu_bench` measures; each job runs in a process of its own (`once`), so that none takes the others down."""
