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
        case $command in
            serve) mapfile -t COMPREPLY < <(compgen -W "--config --listen --admin --data --help" -- "$word") ;;
            *) mapfile -t COMPREPLY < <(compgen -W "--config --json --help" -- "$word") ;;
        esac
    else
        case $command/$sub in
            backup/* | restore/* | export/* | import/*) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
            room/) mapfile -t COMPREPLY < <(compgen -W "list show create rename update delete add remove promote demote" -- "$word") ;;
            user/) mapfile -t COMPREPLY < <(compgen -W "purge" -- "$word") ;;
        esac
    fi
}
complete -o filenames -F _roomd roomd
