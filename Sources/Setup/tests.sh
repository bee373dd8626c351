# Every test.

run_tests() {
  setup
  build_all --build-tests
  # A second pass: the list of tests is made from files that the first may just have written.
  build_all --build-tests
  local tests=$repository/.build/release/convnnPackageTests.xctest
  local ranks output failed=0
  output=$(mktemp)
  say '== tests in one process'
  (cd "$repository" && swift test "${build_flags[@]}" --skip-build --disable-xctest) || failed=1
  for ranks in 1 2 3 4; do
    say "== distributed tests, $ranks ranks"
    if ! mpirun --oversubscribe --mca mpi_yield_when_idle 1 -np "$ranks" \
      "$tests" --testing-library swift-testing --filter Distributed >"$output" 2>&1 </dev/null; then
      cat "$output" >&2
      failed=1
    fi
    grep -E 'Test run with [1-9][0-9]* tests? .*passed' "$output" >&2 ||
      { say "no distributed test ran on $ranks ranks"; failed=1; }
  done
  rm -f "$output"
  say '== tests of the launcher'
  "$repository/Tests/LaunchTests/run.sh" || failed=1
  ((failed == 0)) || { say 'Some tests FAILED.'; exit 1; }
  say 'All tests passed.'
}
