# Builds the program and the launcher, when that is needed.

build_flags=(-c release -Xswiftc -enable-testing)

build() { (cd "$repository" && swift build "${build_flags[@]}" "$@" >&2) || fail 10 'the build failed.'; }

# Whether $1 has not been built, or a source is newer than it.
is_stale() {
  [[ -x $1 ]] || return 0
  local newer
  newer=$(cd "$repository" &&
    find Sources Package.swift -path Sources/Setup -prune -o -newer "$1" -print -quit)
  [[ -n $newer ]]
}

# Builds by the words from $1 on, to make the files in `made`.
build_made() {
  local stamp=$repository/.build/start
  # As old as the start of the build: what is saved while it runs is newer.
  mkdir -p "${stamp%/*}"
  touch "$stamp"
  build "$@"
  touch -r "$stamp" "${made[@]}"
}

build_product() { local made=("$2"); build_made --product "$1"; }

build_all() { local made=("$launcher" "$repository/.build/release/convnn"); build_made "$@"; }

# What is needed to run the user's words. The launcher looks at them before the program is built, which takes minutes.
build_if_needed() {
  local words code
  # Whoever names a program needs no compiler.
  [[ -z ${CONVNN_PROGRAM-} || ! -x $launcher ]] || return 0
  if is_stale "$launcher"; then
    setup
    build_product convnn-launch "$launcher"
  fi
  [[ -z ${CONVNN_PROGRAM-} ]] && is_stale "$program" || return 0
  setup
  words=$("$launcher" "$repository" "$program" "$(mpi_of_launcher)" --dry_run "$@" 2>&1) ||
    { code=$?; [[ -z $words ]] || say "$words"; exit "$code"; }
  build_product convnn "$program"
}
