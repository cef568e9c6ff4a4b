#!/usr/bin/env bash
# What the other launchers share; sourced by them, does nothing by itself.
set -euo pipefail

fail() {  # fail SENTENCE: a mistake in the settings
  echo "Error: $*" >&2
  exit 2
}

need() {  # need VARIABLE WHAT: a setting without a default
  [ -n "${!1:-}" ] || fail "$1 is not set: it is $2. The head of $0 lists all settings."
}

need_number() {  # need_number VARIABLE LEAST
  # Bash's arithmetic would read 010 as eight, and 08 not at all.
  [[ "${!1}" =~ ^(0|[1-9][0-9]{0,8})$ ]] && [ "${!1}" -ge "$2" ] ||
    fail "$1 must be a whole number without leading zeros, $2 or more; got '${!1}'."
}

need_switch() {  # need_switch VARIABLE
  [[ "${!1}" =~ ^[01]$ ]] || fail "$1 must be 0 or 1; got '${!1}'."
}

need_command() {  # need_command NAME: looked for only where it would be run
  [ "$dry_run" = 1 ] || command -v "$1" >/dev/null ||
    fail "The command $1 is not installed here, or not on PATH; --dry-run prints what would be run."
}

show_help() {  # show_help "$@": prints the head of the script and ends it, if --help is asked for
  local argument line script="${BASH_SOURCE[-1]}"
  [[ "$script" = /* ]] || script="$OLDPWD/$script"  # each script changes its directory once
  for argument in "$@"; do
    [ "$argument" = --help ] || [ "$argument" = -h ] || continue
    while read -r line; do
      case "$line" in
        "#!"* | "#SBATCH"*) ;;
        "#"*) line="${line#"#"}" && echo "${line# }" ;;
        *) exit 0 ;;
      esac
    done <"$script"
  done
}

# The launchers' own flags come first; all else, --name=value, is for parts_jax.main.
read_arguments() {  # read_arguments "$@" sets dry_run and arguments
  dry_run=0 arguments=()
  show_help "$@"
  local argument
  for argument in "$@"; do
    case "$argument" in
      --dry-run) dry_run=1 ;;
      --*) arguments+=("$argument") ;;
      *) fail "'$argument' is no flag; flags are given as --name=value." ;;
    esac
  done
}

has_flag() {  # has_flag NAME: is --NAME=... among the arguments?
  local argument
  for argument in "${arguments[@]}"; do
    [[ "$argument" != "--$1="* ]] || return 0
  done
  return 1
}

quoted() {  # quoted WORDS...: one line that a shell reads back as the same words
  local word line=""
  for word in "$@"; do
    [[ "$word" =~ ^[A-Za-z0-9_./:=,@%+-]+$ ]] || word="${word@Q}"
    line+="${line:+ }$word"
  done
  echo "$line"
}

run() {  # run COMMAND...: or only print it, in a dry run
  if [ "$dry_run" = 1 ]; then
    quoted "$@"
  else
    "$@"
  fi
}

catch_term() {  # from here on TERM and Ctrl-C are for the process that `forward_term` waits for
  child="" signalled=0
  trap 'signalled=1; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null || true' TERM INT
}

forward_term() {  # forward_term PID: waits for a process, passes TERM on to it, returns its code
  local code=0 again
  child="$1"
  [ "$signalled" = 0 ] || kill -TERM "$child" 2>/dev/null || true
  signalled=1
  while [ "$signalled" = 1 ]; do  # the trap ends `wait` before the process has ended
    signalled=0 again=0
    wait "$child" || again=$?
    [ "$again" = 127 ] || code="$again"  # 127: it was waited for already
  done
  as_told "$code"
}

as_told() {  # as_told CODE: returns the exit code of a process that this launcher told to leave
  # 143: TERM ended Python before it listened, so nothing had begun: 75, as if it had.
  [ "$1" != 143 ] || return 75
  return "$1"
}

started() {  # started PID: when a process began, in ticks since the system's start; fails if none
  local stat fields
  { stat="$(<"/proc/$1/stat")"; } 2>/dev/null || return 1
  read -r -a fields <<<"${stat##*) }"  # what follows its name, which may hold anything
  echo "${fields[19]}"
}

is_run() {  # is_run PID STARTED: is that still the process of a run, and no other with its number?
  local word words
  [[ "$1" =~ ^[1-9][0-9]*$ ]] && [ "$(started "$1")" = "$2" ] || return 1
  { mapfile -d "" -t words <"/proc/$1/cmdline"; } 2>/dev/null || return 1
  for word in "${words[@]}"; do
    [ "$word" != parts_jax.main ] || return 0
  done
  return 1
}
