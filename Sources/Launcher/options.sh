# The command line: the launcher's options, and what it has to know of the program's flags.

ranks='' threads='' hostfile='' hosts='' max_restarts=0 min_ranks='' grace=120 stall_timeout=''
per_rank_logs=0 dry_run=0 mpi_args='' command='' flags=()

# Sets `number` to the value $2 of option $1, at least $3.
whole_number() {
  local expected="expected a whole number of at least ${3:-0}"
  [[ $2 =~ ^-?[0-9]{1,9}$ ]] || fail 2 "$1 is ${2:-empty}: $expected."
  # 10#: a leading zero does not make it octal.
  number=$((10#${2#-}))
  [[ $2 != -* ]] && ((number >= ${3:-0})) || fail 10 "$1 is $2: $expected."
}

# Takes the run options out of the arguments; the rest are the program's.
parse() {
  local option value number
  while (($#)); do
    option=${1%%=*}
    [[ $option == --* ]] && option=--$(tr - _ <<<"${option#--}")
    case $option in
      -np | -n | --ranks | --threads | --hostfile | --host | --max_restarts | --min_ranks | --grace | \
        --stall_timeout | --mpi_args)
        if [[ $1 == -*=* ]]; then value=${1#*=}; else
          (($# > 1)) || fail 2 "$1 needs a value."
          value=$2
          shift
        fi
        ;;
    esac
    case $option in
      -np | -n | --ranks) whole_number "$option" "$value" 1; ranks=$number ;;
      --threads) whole_number "$option" "$value" 1; threads=$number ;;
      --hostfile) hostfile=$value ;;
      --host) hosts=$value ;;
      --max_restarts) whole_number "$option" "$value"; max_restarts=$number ;;
      --min_ranks) whole_number "$option" "$value" 1; min_ranks=$number ;;
      --grace) whole_number "$option" "$value"; grace=$number ;;
      --stall_timeout) whole_number "$option" "$value" 1; stall_timeout=$number ;;
      --mpi_args) mpi_args=$value ;;
      --per_rank_logs) per_rank_logs=1 ;;
      --dry_run) dry_run=1 ;;
      train | evaluate | predict | verify | bench | data | fuzz | help)
        if [[ -z $command && ${#flags[@]} == 0 ]]; then command=$1; else flags+=("$1"); fi
        ;;
      *) flags+=("$1") ;;
    esac
    shift
  done
}

# The value of a flag among the program's, in any spelling.
flag_value() {
  local word previous='' found=''
  for word in "${flags[@]}"; do
    case $word in
      "--$1="* | "--${1//_/-}="*) found=${word#*=} ;;
      *) [[ $previous != "--$1" && $previous != "--${1//_/-}" ]] || found=$word ;;
    esac
    previous=$word
  done
  printf '%s' "$found"
}

output_folder() {
  local folder layer dataset
  folder=$(flag_value output_dir)
  layer=$(flag_value layer)
  dataset=$(flag_value dataset)
  printf '%s' "${folder:-./Output/${layer:-Attention}-${dataset:-cifar10}}"
}
