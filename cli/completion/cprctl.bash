# SPDX-License-Identifier: LGPL-2.1-or-later
# bash completion for cprctl(1)

# Asks the daemon that the line being typed is for.
__cprctl_ask() {
        local i socket=()

        for ((i = 1; i < COMP_CWORD - 1; i++)); do
                [[ ${COMP_WORDS[i]} != --socket ]] || socket=(--socket "${COMP_WORDS[i + 1]}")
        done
        cprctl "${socket[@]}" "$@" </dev/null 2>/dev/null
}

__cprctl_records() {
        __cprctl_ask history | awk 'NR > 1 { print $1 }'
}

# By way of JSON, for which cprctl does not look at all the QEMUs there are.
__cprctl_vms() {
        __cprctl_ask list --json | grep -o '"name":"[^"]*"' | cut -d '"' -f 4
}

# QEMUs that a handoff may go to, as cprd itself lists them.
__cprctl_binaries() {
        __cprctl_ask probe --json | grep -o '"binary":"[^"]*"' | cut -d '"' -f 4
}

__cprctl_verb() {
        local i

        for ((i = 1; i < COMP_CWORD; i++)); do
                case ${COMP_WORDS[i]} in
                --pid | --qmp | --qemu | --max-pause | --id | --since | --socket) i=$((i + 1)) ;;
                -*) ;;
                *) echo "${COMP_WORDS[i]}" && return ;;
                esac
        done
}

__cprctl_offer() {
        mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur")
}

# The value of an option; fails if $prev takes none.
__cprctl_value() {
        case $prev in
        --qemu)
                __cprctl_offer "$(__cprctl_binaries)"
                ((${#COMPREPLY[@]})) || mapfile -t COMPREPLY < <(compgen -f -- "$cur")
                ;;
        --qmp | --socket) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
        --id) __cprctl_offer "$(__cprctl_records)" ;;
        --pid) __cprctl_offer "$(pgrep qemu-system)" ;;
        --since) __cprctl_offer "1h 1d 1w today yesterday" ;;
        --max-pause) __cprctl_offer "500ms 1s 2s 5s" ;;
        *) return 1 ;;
        esac
}

_cprctl() {
        local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} verb
        local verbs="status probe register unregister list show check handoff cancel history"
        local always="--json --socket --help --version"

        # --qemu=PATH reaches us as three words.
        if [[ $cur == = ]]; then
                cur=
        elif [[ $prev == = ]]; then
                prev=${COMP_WORDS[COMP_CWORD - 2]}
        fi
        verb=$(__cprctl_verb)
        COMPREPLY=()
        if __cprctl_value; then
                compopt -o filenames 2>/dev/null
                return
        fi
        case $verb:$cur in
        register:-*) __cprctl_offer "--pid --qmp $always" ;;
        check:-*) __cprctl_offer "--qemu $always" ;;
        list:-*) __cprctl_offer "--outdated $always" ;;
        handoff:-*) __cprctl_offer "--qemu --max-pause --rehearse --all --outdated --yes $always" ;;
        history:-*) __cprctl_offer "--id --since $always" ;;
        *:-*) __cprctl_offer "$always" ;;
        :*) __cprctl_offer "$verbs" ;;
        probe:*) __cprctl_offer "$(__cprctl_binaries)" ;;
        unregister:* | show:* | check:* | handoff:* | cancel:* | history:*) __cprctl_offer "$(__cprctl_vms)" ;;
        esac
}

complete -F _cprctl cprctl
