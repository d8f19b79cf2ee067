# fish completion for roomd, installed as /usr/share/fish/vendor_completions.d/roomd.fish

complete -c roomd -f
complete -c roomd -n __fish_use_subcommand -a serve -d 'Serve the API'
complete -c roomd -n __fish_use_subcommand -a check -d 'Test configuration, database, Nextcloud and nginx'
complete -c roomd -n __fish_use_subcommand -a backup -d 'Copy the database while the server runs'
complete -c roomd -n __fish_use_subcommand -a restore -d 'Put a copy in place of the database'
complete -c roomd -n __fish_use_subcommand -a export -d 'Write everything as JSON lines'
complete -c roomd -n __fish_use_subcommand -a import -d 'Read what export wrote'
complete -c roomd -n __fish_use_subcommand -a room -d 'Look at conversations and change them'
complete -c roomd -n __fish_use_subcommand -a user -d 'Remove what is stored about a person'
complete -c roomd -n __fish_use_subcommand -a stats -d 'Count what is stored'
complete -c roomd -n __fish_use_subcommand -l version -d 'Print the version'
complete -c roomd -l help -d 'Show help'
complete -c roomd -n 'not __fish_use_subcommand' -l config -r -F -d 'Configuration file'
complete -c roomd -n '__fish_seen_subcommand_from serve' -l listen -x -d 'Where to listen'
complete -c roomd -n '__fish_seen_subcommand_from serve' -l admin -x -d 'Where to serve operators'
complete -c roomd -n '__fish_seen_subcommand_from serve' -l data -x -a '(__fish_complete_directories)' -d 'Folder of the database'
complete -c roomd -n '__fish_seen_subcommand_from check backup room user stats' -l json -d 'Print JSON'
complete -c roomd -n '__fish_seen_subcommand_from check' -l url -x -d 'Address of nginx for clients'
complete -c roomd -n '__fish_seen_subcommand_from backup export import' -l force -d 'Overwrite'
complete -c roomd -n '__fish_seen_subcommand_from backup restore export import' -F
complete -c roomd -n '__fish_seen_subcommand_from room' -a 'list show create rename update delete add remove promote demote'
complete -c roomd -n '__fish_seen_subcommand_from user' -a purge
