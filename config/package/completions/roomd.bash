# bash completion for roomd, installed as /usr/share/bash-completion/completions/roomd

_roomd() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command= sub= n
    local commands="serve check backup restore export import room user stats"
    for ((n = 1; n < COMP_CWORD; n++)); do
        case ${COMP_WORDS[n]} in
            -*) ;;
            *)  if [[ -z $command ]]; then command=${COMP_WORDS[n]}; elif [[ -z $sub ]]; then sub=${COMP_WORDS[n]}; fi ;;
        esac
    done
    COMPREPLY=()
    case $before in
        --config | --data) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
        --listen | --admin) mapfile -t COMPREPLY < <(compgen -W "unix:/run/roomd/roomd.sock 127.0.0.1:8686" -- "$word"); return ;;
    esac
    if [[ -z $command ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$commands --help --version" -- "$word")
    elif [[ $word == -* ]]; then
        local options="--config --help"
        case $command/$sub in
            serve/*) options+=" --listen --admin --data" ;;
            check/*) options+=" --url --json" ;;
            backup/*) options+=" --force --json" ;;
            export/* | import/*) options+=" --force" ;;
            room/list) options+=" --json --user" ;;
            room/create) options+=" --json --owner --moderator --user --public --readonly --password-stdin --unchecked" ;;
            room/update) options+=" --json --public --readonly --password-stdin" ;;
            room/add) options+=" --json --unchecked" ;;
            room/* | user/purge | stats/*) options+=" --json" ;;
        esac
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
    else
        case $command/$sub in
            backup/* | restore/* | export/* | import/*) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
            room/) mapfile -t COMPREPLY < <(compgen -W "list show create rename update delete add remove promote demote" -- "$word") ;;
            user/) mapfile -t COMPREPLY < <(compgen -W "purge" -- "$word") ;;
        esac
    fi
}
complete -o filenames -F _roomd roomd
