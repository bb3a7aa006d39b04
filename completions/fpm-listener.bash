# bash completion for fpm-listener
_fpm_listener() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} offers=
    COMPREPLY=()
    case $before in
        --config | --supervisord-conf | -c | --conf | --dockerfile | --token-file | --textfile | --baseline | --write-baseline)
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        --root)
            mapfile -t COMPREPLY < <(compgen -d -- "$word")
            return
            ;;
        --orphans) offers='quit report' ;;
        --format) offers='text json github gitlab sarif' ;;
        --fail-on) offers='error warning hint never' ;;
        --url | --select | --ignore | --wait | --timeout | --start-period) return ;;
        *)
            if [ "$COMP_CWORD" -eq 1 ]; then
                offers='listen status guard run after init check explain healthy alerts leave unpack version help --version --help'
            else
                case ${COMP_WORDS[1]} in
                    listen) offers='--config' ;;
                    status) offers='--url --config --json --insecure' ;;
                    guard) offers='--wait --orphans --hold --config --' ;;
                    after) offers='--timeout --config --supervisord-conf --' ;;
                    run) offers='-- supervisord' ;;
                    explain) offers="--json --logs --supervisord-log --fpm-log --stderr --rotated --since --until --tz --config $(fpm-listener explain 2>/dev/null | sed -n 's/^\([A-Z]*[a-z_]*[0-9]*\)  .*/\1/p')" ;;
                    healthy) offers='--direct --supervisord-conf --timeout --start-period --nagios --config' ;;
                    alerts) offers='test list retry drop --config --json' ;;
                    leave) offers='--config' ;;
                    help) offers='listen status guard run after init check explain healthy alerts leave unpack version' ;;
                    check)
                        offers='--root --offline --supervisord-conf --format --json --fix-preview --all --select --ignore --fail-on --baseline --write-baseline'
                        mapfile -t COMPREPLY < <(compgen -W "$offers" -- "$word"; compgen -f -- "$word")
                        return
                        ;;
                    init)
                        offers='--container --conf --write --dockerfile --user --path --token-file --textfile'
                        mapfile -t COMPREPLY < <(compgen -W "$offers" -- "$word"; compgen -d -- "$word")
                        return
                        ;;
                    unpack)
                        mapfile -t COMPREPLY < <(compgen -d -- "$word")
                        return
                        ;;
                esac
            fi
            ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$offers" -- "$word")
}
complete -F _fpm_listener fpm-listener
