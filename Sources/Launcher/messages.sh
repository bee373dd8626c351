# What mpirun and the run say of themselves: passed on, left out, noted.

# Notes of an attempt, in the folder $notes:
#   lost    what is known of the end: rank (or -), host, and a signal or one of the words below; for a stall what
#           the rank said that waited
#   new     there until the run has told of itself: a folder that somebody has emptied must not look like that
#   over    there once mpirun has told of an end; says how many seconds it may take
#   usage   there once mpirun has told that it does not understand its command line
#   daemons there once mpirun has told that it cannot start its helpers on other hosts
#   ended   there once the launcher itself has ended an mpirun that did not end
#   told    there once the filter has passed everything on
#   signals a line for each signal to the launcher

# Whether the run of this attempt has told of itself.
has_begun() { [[ ! -e $notes/new ]]; }

# Writes the note $1, with the words $2. What cleans up old files may have taken the folder of a long run.
note() {
  { [[ -d $notes ]] || { kill -0 $$ && mkdir -m 700 "$notes"; }; } 2>/dev/null || return 0
  { echo "${2-}" >"$notes/$1"; } 2>/dev/null || true
}

# Lines of mpirun and MPI that help nobody.
noise='^(mpirun|prterun): Forwarding|sent help message|orte_base_help_aggregate|ORTE_ERROR_LOG.*show_help'
noise+='|mca_btl_tcp_|Read -1, expected|plm:(rsh|ssh): Warning: setpgid'

# Passes lines on, but for mpirun's framed words on how a job ended: the program or `reason_of_loss` says
# it better. What they tell goes into the notes.
quiet_mpirun() {
  # Ends with mpirun, not with a terminal, a pipe or a process group.
  be_deaf
  trap '' PIPE
  local line block='' framed=0 said='' closed=0
  while IFS= read -r line || [[ -n $line ]]; do
    if [[ $line == --------------------* ]]; then
      ((!framed)) || note_block
      framed=$((1 - framed)) block=''
    elif ((framed)); then
      block+=$line$'\n'
    elif [[ $line =~ ^\[([^]:]+):[0-9]+\]\ \*\*\*\ .*in\ Socket\ closed ]]; then
      # Version 5 tells that of a rank which hears of another's end sooner than mpirun does.
      closed=1
      [[ -s $notes/lost ]] || note_end "- ${BASH_REMATCH[1]} closed"
    elif ((closed)) && [[ $line =~ ^\[[^]:]+:[0-9]+\]\ \*\*\*\  ]]; then
      continue
    elif [[ ! $line =~ $noise ]]; then
      [[ ! $line =~ ,\ [0-9]+\ parameters\;\  ]] || note_begin
      [[ $line != 'mpirun: Error: '* ]] || note usage
      if [[ -n $said ]]; then
        # The first one waits for the rank that stands still; what others say comes of that.
        [[ $line != 'Stalled: '* && $said != *$'\n'"$line"$'\n'* ]] || continue
        said+=$line$'\n'
      elif [[ $line == 'Stalled: '* ]]; then
        said=$'\n'
        note_end "- - stalled $(tr -d '"\\|&<>[:cntrl:]' <<<"${line#Stalled: }")"
      fi
      say "$line"
    fi
  done
  [[ -z $block ]] || say "$block"
  note told
}

note_begin() {
  rm -f "$notes/new"
  # Connections failed while ranks met, but they have met all the same.
  ! grep -qs ' connect ' "$notes/lost" || rm -f "$notes/lost" "$notes/over"
}

# One framed message of mpirun, in `block`.
note_block() {
  local words=${block//$'\n'/ }
  local place='process rank ([0-9]+) with PID [0-9]+ on node ([^ ]+)'
  if [[ $words =~ $place\ exited\ on\ signal\ ([0-9]+ \([^\)]*\)) ]]; then
    note_end "${BASH_REMATCH[1]} ${BASH_REMATCH[2]} ${BASH_REMATCH[3]}"
  elif [[ $words =~ $place\ exiting\ improperly ]]; then
    note_end "${BASH_REMATCH[1]} ${BASH_REMATCH[2]} early"
  elif [[ $words =~ unexpectedly\ disconnected.*Peer\ host:\ *([^ ]+) ||
    $words =~ lost\ communication.*[Rr]emote\ daemon:.*on\ node\ ([^ ]+) ]]; then
    # How a rank there ended says more, where that is known.
    grep -qsv ' closed$' "$notes/lost" || note_end "- ${BASH_REMATCH[1]} contact"
  elif [[ $words =~ failed\ to\ TCP\ connect.*Local\ host:\ *([^ ]+).*Message:\ *(connect\(\)\ to\ [^ ]+) ||
    $words =~ accepted\ a\ TCP\ connection\ from\ what.*Local\ host:\ *([^ ]+) ]]; then
    # Later it is how other ranks notice an end.
    has_begun || [[ -s $notes/lost ]] ||
      note_end "- ${BASH_REMATCH[1]} connect ${BASH_REMATCH[2]-}" 30
  elif [[ $words =~ could\ not\ change\ to\ the\ specified\ working\ directory:.*directory:\ (.*)\ Node:\ ([^ ]+) ]]; then
    note_end "- ${BASH_REMATCH[2]} missing folder ${BASH_REMATCH[1]}"
  elif [[ $words =~ (could\ not\ access\ or|permissions\ to)\ execute\ an\ executable:.*Executable:\ (.*)\ Node:\ ([^ ]+) ]]; then
    note_end "- ${BASH_REMATCH[3]} missing program ${BASH_REMATCH[2]}"
  elif [[ $words =~ unable\ to\ reliably\ start\ one\ or\ more\ daemons ]]; then
    note daemons
    say "mpirun could not start its daemon, $(helper_of_mpirun), on every host."
  elif [[ $words =~ unable\ to\ find\ the\ specified\ executable\ file|^(An\ unrecognized\ option|No\ executable\ was)|not\ recognized:|unrecognized\ qualifier|requires\ passing ]]; then
    # Where it does not find the program, it has taken another word for it.
    note usage
    say "${block%$'\n'}"
  elif [[ $words =~ not\ know\ how\ to\ route|calling\ \"abort\"|terminated\ normally|non-zero\ status|MPI_ABORT\ was ]]; then
    note_end ''
  else
    say "${block%$'\n'}"
  fi
}

# Notes that the run is over, and how, unless $1 is empty; mpirun has $2 seconds to end: it may wait for ever for a
# host that is gone.
note_end() {
  # Ends that follow a stall come of it.
  [[ -z $1 ]] || grep -qs '^- - stalled ' "$notes/lost" || note lost "$1"
  [[ ! -s $notes/over ]] || return 0
  note over "${2:-15}"
  end_mpirun "${2:-15}" </dev/null >/dev/null 2>&1 &
}

# Ends the mpirun of this attempt, which has told of an end, unless it ends within $1 seconds.
end_mpirun() {
  local process tick
  process=$(session_of "$worker")
  for ((tick = 0; tick < 5 * $1; tick++)); do
    # Without the folder nobody has taken that back.
    [[ -n $process && (-e $notes/over || ! -d $notes) ]] && kill -0 "$process" && kill -0 $$ || return 0
    sleep 0.2
  done
  note ended
  # An mpirun that is ending already does not end sooner for being asked.
  if grep -qs ' connect ' "$notes/lost"; then end_process "$process"; else kill -KILL "$process"; fi
}
