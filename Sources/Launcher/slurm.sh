# Allocations of Slurm.

# Tasks that Slurm has room for: the sum of a list like 2(x3),1, or else their number.
slurm_tasks() {
  local part list=${SLURM_TASKS_PER_NODE-} total=0
  for part in ${list//,/ }; do
    [[ $part =~ ^([0-9]{1,6})(\(x([0-9]{1,6})\))?$ ]] || { total=0; break; }
    total=$((total + 10#${BASH_REMATCH[1]} * 10#${BASH_REMATCH[3]:-1}))
  done
  if ((total)); then echo "$total"; else echo "${SLURM_NTASKS-}"; fi
}

# What there is to know of a Slurm allocation.
check_slurm() {
  in_slurm=0 end_signal=TERM
  [[ -n ${SLURM_JOB_ID-} ]] || return 0
  in_slurm=1
  [[ -z $hosts$hostfile ]] ||
    fail 10 "Slurm names the hosts of job $SLURM_JOB_ID. Leave --host and --hostfile out; -np N sets another number of ranks."
  # At a terminal it is `srun --pty bash`, where only the first task is alive.
  if ((${SLURM_STEP_NUM_TASKS:-1} > 1)) && [[ ! -t 0 ]]; then
    # One message is enough.
    ((${SLURM_PROCID:-0} == 0)) || exit 10
    fail 10 "srun has started ./launch $SLURM_STEP_NUM_TASKS times. Leave srun out: ./launch starts a rank for every task by itself."
  fi
  # mpirun's helpers on other nodes may run beside the step that a shell of `srun --pty` is.
  export SLURM_OVERLAP=1
  # When a job is cancelled or its time is over, Slurm sends SIGTERM to all of its processes: this script
  # and the ranks are to hear it, but mpirun would end the ranks before they have written a checkpoint.
  ! env --block-signal=TERM true 2>/dev/null || end_signal=INT
}

# A batch script dies of the SIGTERM, and with it all that it has started, unless `exec` has put this script
# in its place or it catches the signal.
advise_exec() {
  local caught
  [[ $command == train && $(tr '\0' ' ' <"/proc/$PPID/cmdline") == */slurm_script\ * ]] 2>/dev/null || return 0
  caught=$(awk '/^SigCgt/ {print $2}' "/proc/$PPID/status" 2>/dev/null) || return 0
  (((16#${caught:-0} >> 14) & 1)) ||
    say 'Note: end the batch script with "exec ./launch …"; otherwise scancel and the time limit leave no time for a checkpoint.'
}

# Ranks and threads as the allocation has tasks and CPUs for each.
plan_slurm() {
  local asked=("$ranks" "$threads") cpus=${SLURM_CPUS_PER_TASK:-1}
  # srun would keep mpirun's helper on another node, and all ranks there, to the CPUs of one task.
  unset SRUN_CPUS_PER_TASK SLURM_CPUS_PER_TASK
  ranks=${ranks:-${SLURM_NTASKS:-$(slurm_tasks)}}
  threads=${threads:-$cpus}
  fit_to_shards "${asked[@]}" "$((${ranks:-1} * threads)) CPUs"
}
