#!/usr/bin/env bash
# The one agent of every fleet in the bench: says in the journal beside its folder when it began, shows a prompt, and
# says of each line that it reads (or finds on its command line) when it did. It does nothing else, so that what is
# measured is not the agent.
journal=${BASH_SOURCE[0]%/bin/*}/journal
printf 'start %s %s\n' "${EPOCHREALTIME/,/.}" "$$" >>"$journal"
take() {
    printf 'read %s %s %s\n' "${EPOCHREALTIME/,/.}" "$$" "$1" >>"$journal"
    printf '> MOCK: %s\n❯ ' "$1"
}
printf '❯ '
for word in "$@"; do
    case $word in task*) take "$word" ;; esac
done
while IFS= read -r line; do
    take "$line"
done
