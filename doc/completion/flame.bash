# bash completion for flmctl, flmd, flmexec, flmping, flmrun and the examples.
#
# Options come from the program's own --help, so they are always its own; names of
# sessions, applications and nodes from the running session manager, if there is one.

# Prints the long options of the program $1, or of its command $2.
_flame_options() {
    "$@" --help 2>/dev/null </dev/null | grep -oE '^ +(-[^- ],? *)?--[a-z][a-z0-9-]*=?' | grep -oE -e '--.*'
}

# flmctl's commands, as its --help lists them.
_flame_commands() {
    "$1" --help 2>/dev/null </dev/null | sed -nE 's/^ {2,4}([a-z]+)( .*)?$/\1/p' | sort -u
}

# Ids or names that `flmctl list $2` knows: the first column.
_flame_names() {
    timeout 2 "$1" list "$2" -o csv 2>/dev/null </dev/null | sed '1d; s/,.*//; s/^"\(.*\)"$/\1/'
}

# Words that begin with the current one.
_flame_reply() {
    local IFS=$'\n'
    COMPREPLY=($(compgen -W "$1" -- "$cur"))
    # an option that wants a value: no blank behind its =
    [ ${#COMPREPLY[@]} -ne 1 ] || [[ ${COMPREPLY[0]} != *= ]] || compopt -o nospace 2>/dev/null
}

_flame_files() {
    local IFS=$'\n'
    COMPREPLY=($(compgen -f -- "$cur"))
    compopt -o filenames 2>/dev/null
}

# Values of an option, where they can be known.
_flame_value() {
    case $1 in
        --bind) _flame_reply $'core\nl3\nnuma\nnone' ;;
        --provider) _flame_reply $'tcp;ofi_rxm\nverbs;ofi_rxm\nshm' ;;
        --output | -o) _flame_reply $'table\njson\ncsv' ;;
        --backend) _flame_reply $'local\nslurm\npbs' ;;
        --durability) _flame_reply $'none\njournal\nsync' ;;
        --auth) _flame_reply $'auto\nmunge\nsecret' ;;
        --interface) _flame_reply "$(ls /sys/class/net 2>/dev/null)" ;;
        --halt) _flame_reply $'now,fail=1\nsoon,fail=1\nnever' ;;
        --endpoint) _flame_reply $'unix:\ntcp:' ;;
        --*file | --joblog | --*dir | --*directory | --log) _flame_files ;;
        *) return 1 ;;
    esac
}

# The command of flmctl on the line so far, if there is one.
_flame_command() {
    local i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
            -* | = | table | json | csv | unix* | tcp* | :*) ;;
            *) echo "${COMP_WORDS[i]}"; break ;;
        esac
    done
}

# What comes behind the command of flmctl.
_flame_flmctl() {
    case $(_flame_command) in
        '') _flame_reply "$(_flame_commands "$1")" ;;
        register) _flame_files ;;
        unregister | create) _flame_reply "$(_flame_names "$1" -a)" ;;
        view | watch | logs | close | cancel | delete) _flame_reply "$(_flame_names "$1" -s)" ;;
        drain | undrain) _flame_reply "$(_flame_names "$1" -n)" ;;
    esac
}

# flmrun and flmexec run another command: its words are completed as its own.
_flame_command_at() {
    local i
    for ((i = 1; i < COMP_CWORD; i++)); do
        if [ "${COMP_WORDS[i]}" = -- ]; then
            echo $((i + 1))
            return
        fi
    done
}

_flame() {
    local program=$1 cur=$2 prev=$3 at name
    name=${program##*/}
    COMPREPLY=()
    # --option=value comes as three words
    if [ "$cur" = = ]; then
        cur=''
        _flame_value "$prev" && return
    elif [ "$prev" = = ] && [ "$COMP_CWORD" -ge 2 ]; then
        _flame_value "${COMP_WORDS[COMP_CWORD - 2]}" && return
    fi
    case $name in
        flmrun | flmexec)
            at=$(_flame_command_at)
            if [ -n "$at" ] && declare -F _command_offset >/dev/null; then
                _command_offset "$at"
                return
            elif [ -n "$at" ]; then
                if [ "$COMP_CWORD" -eq "$at" ]; then _flame_reply "$(compgen -c -- "$cur" | sort -u)"; else _flame_files; fi
                return
            fi
            ;;
    esac
    if [[ $cur == -* ]]; then
        local command=''
        [ "$name" != flmctl ] || command=$(_flame_command)
        _flame_reply "$(_flame_options "$program" ${command:+"$command"})"
    elif _flame_value "$prev"; then
        :
    elif [ "$name" = flmctl ]; then
        _flame_flmctl "$program"
    elif [ "$name" = flmrun ]; then
        _flame_reply "$(compgen -c -- "$cur" | sort -u)"
    else
        _flame_files
    fi
}

complete -F _flame flmctl flmd flmexec flmping flmrun flm-matmul flm-montecarlo
