#!/usr/bin/env bash
# RabbitMQ: AMQP 0-9-1 in clear and under TLS. The user mailsend may do everything in the virtual host "/", with the
# password in STATE/password. STATE/pid is the process of the broker: there as soon as it takes connections, and anew
# after its death, for then it is started again with the data it had.
. "$(dirname "$0")/common.sh"

amqp=$(free_port) amqps=$(free_port) distribution=$(free_port)
# It starts within seconds, but not while others compile.
patience=1200
cat > "$state/broker.config" << END
%% coding: utf-8
[{rabbit, [
    {tcp_listeners, [{"127.0.0.1", $amqp}]},
    {ssl_listeners, [{"127.0.0.1", $amqps}]},
    {ssl_options, [{certfile, "$inside/good.pem"}, {keyfile, "$inside/good.key"}, {verify, verify_none}]},
    {default_user, <<"mailsend"/utf8>>},
    {default_pass, <<"$(cat "$state/password")"/utf8>>},
    %% No /proc and no df that could be asked.
    {disk_monitor_failure_retries, 0},
    {vm_memory_calculation_strategy, allocated},
    {total_memory_available_override_value, 1000000000},
    {vm_memory_high_watermark, {absolute, 800000000}},
    {log, [{console, [{enabled, true}, {level, warning}]}]}
]}].
END
home=/usr/lib/rabbitmq/lib/$(basename "$root"/usr/lib/rabbitmq/lib/rabbitmq_server-*)
export HOME=$inside LANG=C.UTF-8 ERL_LIBS=$home/plugins
export RABBITMQ_HOME=$home RABBITMQ_NODENAME=mailsend@localhost RABBITMQ_DIST_PORT=$distribution
export RABBITMQ_ADVANCED_CONFIG_FILE=$inside/broker.config RABBITMQ_CONFIG_FILE=$inside/none
export RABBITMQ_CONF_ENV_FILE=$inside/none RABBITMQ_ENABLED_PLUGINS_FILE=$inside/none
export RABBITMQ_MNESIA_BASE=$inside/data RABBITMQ_LOG_BASE=$inside RABBITMQ_LOGS=-

# It says 1, a frame of a method, to who wants AMQP 0-9-1.
speaks() (
    exec 3<> "/dev/tcp/127.0.0.1/$1"
    printf 'AMQP\0\0\11\1' >&3
    [ "$(timeout 5 head -c 1 <&3)" = $'\1' ]
)

# With the node's port known beforehand it needs no port mapper, which would be one for the whole machine.
start() {
    run erl -noinput -s rabbit boot -boot start_sasl +W w +S 1:1 +sbwt none -sname "$RABBITMQ_NODENAME" \
        -start_epmd false -erl_epmd_port "$distribution" -kernel inet_dist_use_interface '{127,0,0,1}' \
        -kernel inet_dist_listen_min "$distribution" -kernel inet_dist_listen_max "$distribution" \
        -kernel prevent_overlapping_partitions false -syslog logger '[]' -syslog syslog_error_logger false
    until_true speaks "$amqp"
    # Its death is no news for standard error.
    disown "$server"
    echo "$server" > "$state/pid.new"
    mv "$state/pid.new" "$state/pid"
}

start
echo "amqp $amqp"
echo "amqps $amqps"
echo ready
# Whoever wants it no more closes standard input; whoever writes "kill" there has it killed.
while true; do
    status=0
    read -r -t 1 order || status=$?
    # More than 128: nothing came within the second.
    if [ $status != 0 ] && [ $status -le 128 ]; then
        break
    fi
    if [ $status = 0 ] && [ "$order" = kill ]; then
        # RabbitMQ 3.10 notes half a second later that a quorum queue was made, and killed before it loses all that is in it,
        # confirmed or not. No test is about that.
        within erl_call -address "$distribution" -c "$(cat "$state/.erlang.cookie")" -a 'dets sync [ra_directory_reverse]' \
            >> "$state/output"
        kill -KILL "$server"
    fi
    if ! kill -0 "$server" 2> /dev/null; then
        start
    fi
done
