# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_orders_global_optspecs
    string join \n output= q/quiet v/verbose log-format= env-file= h/help V/version
end

function __fish_orders_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_orders_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_orders_using_subcommand
    set -l cmd (__fish_orders_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c orders -n "__fish_orders_needs_command" -l output -d 'Print data as a table or as JSON' -r -f -a "table\t'Columns for people; plain when piped'
json\t'One JSON document, also when the command fails'"
complete -c orders -n "__fish_orders_needs_command" -l log-format -d 'Write diagnostics as text or as JSON' -r -f -a "text\t'TIME LEVEL message field=value'
json\t'One JSON object a line'"
complete -c orders -n "__fish_orders_needs_command" -l env-file -d 'File with variables [default: .env, where there is one]' -r -F
complete -c orders -n "__fish_orders_needs_command" -s q -l quiet -d 'Print only warnings and errors on stderr'
complete -c orders -n "__fish_orders_needs_command" -s v -l verbose -d 'Print more on stderr; -vv prints everything'
complete -c orders -n "__fish_orders_needs_command" -s h -l help -d 'Print help'
complete -c orders -n "__fish_orders_needs_command" -s V -l version -d 'Print version'
complete -c orders -n "__fish_orders_needs_command" -f -a "up" -d 'Run everything in one process; no other software is required'
complete -c orders -n "__fish_orders_needs_command" -f -a "migrate" -d 'Create or update the tables of the database'
complete -c orders -n "__fish_orders_needs_command" -f -a "create-topics" -d 'Create the topics, or check existing ones'
complete -c orders -n "__fish_orders_needs_command" -f -a "serve-api" -d 'Serve the HTTP API: accept orders and return them'
complete -c orders -n "__fish_orders_needs_command" -f -a "consume" -d 'Store orders from the log in the database, and answer lookups'
complete -c orders -n "__fish_orders_needs_command" -f -a "send" -d 'Post orders from files or stdin to the API'
complete -c orders -n "__fish_orders_needs_command" -f -a "get" -d 'Get orders by their uid from the API'
complete -c orders -n "__fish_orders_needs_command" -f -a "list" -d 'List the newest orders, or those of a customer'
complete -c orders -n "__fish_orders_needs_command" -f -a "status" -d 'Show whether every part is healthy, and what repairs it'
complete -c orders -n "__fish_orders_needs_command" -f -a "lag" -d 'Show how many records wait in each partition, and who has it'
complete -c orders -n "__fish_orders_needs_command" -f -a "gaps" -d 'Records that were deleted before they were read'
complete -c orders -n "__fish_orders_needs_command" -f -a "replay" -d 'Apply records of the log again, which is harmless'
complete -c orders -n "__fish_orders_needs_command" -f -a "dead-letters" -d 'See what was refused, and why; repair it'
complete -c orders -n "__fish_orders_needs_command" -f -a "erase" -d 'Erase an order for good: a customer wants to be forgotten'
complete -c orders -n "__fish_orders_needs_command" -f -a "trace" -d 'Show where an order is, from the log to the cache'
complete -c orders -n "__fish_orders_needs_command" -f -a "verify" -d 'Check that no record of the log is lost'
complete -c orders -n "__fish_orders_needs_command" -f -a "export" -d 'Write every stored order as JSON, one a line'
complete -c orders -n "__fish_orders_needs_command" -f -a "config" -d 'Show every setting, its value and where it comes from'
complete -c orders -n "__fish_orders_needs_command" -f -a "token" -d 'Make a token that lets a client in'
complete -c orders -n "__fish_orders_needs_command" -f -a "completions" -d 'Print the completion script of a shell'
complete -c orders -n "__fish_orders_needs_command" -f -a "version" -d 'Print the version'
complete -c orders -n "__fish_orders_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c orders -n "__fish_orders_using_subcommand up" -l wait -d 'How long to wait for Kafka and the database at the start' -r
complete -c orders -n "__fish_orders_using_subcommand up" -l brokers -d 'Kafka brokers, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand up" -l topic -d 'Topic of the orders' -r
complete -c orders -n "__fish_orders_using_subcommand up" -l lookup-topic -d 'Topic of the lookups' -r
complete -c orders -n "__fish_orders_using_subcommand up" -l found-topic -d 'Topic of the answers to lookups' -r
complete -c orders -n "__fish_orders_using_subcommand up" -l kafka-properties -d 'Properties of the Kafka client, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand up" -s X -d 'Property of the Kafka client, repeatable; replaces that of KAFKA_PROPERTIES' -r
complete -c orders -n "__fish_orders_using_subcommand up" -l db-url -d 'Database, as postgresql://USER@HOST:PORT/DATABASE or sqlite:FILE' -r
complete -c orders -n "__fish_orders_using_subcommand up" -l data-dir -d 'Folder of the embedded engines' -r -F
complete -c orders -n "__fish_orders_using_subcommand up" -l group -d 'Consumer group' -r
complete -c orders -n "__fish_orders_using_subcommand up" -l lookup-group -d 'Consumer group of the lookups, one for each set of topics' -r
complete -c orders -n "__fish_orders_using_subcommand up" -l http-addr -d 'Address of the public API; port 0 picks one' -r
complete -c orders -n "__fish_orders_using_subcommand up" -l keep-alive-s -d 'How long an idle connection is kept' -r
complete -c orders -n "__fish_orders_using_subcommand up" -l max-connections -d 'How many connections there may be' -r
complete -c orders -n "__fish_orders_using_subcommand up" -l lookup-wait-ms -d 'How long a GET waits for its lookup before it answers 202' -r
complete -c orders -n "__fish_orders_using_subcommand up" -l drain-delay -d 'How long requests are still served after the first signal, while /readyz returns 503' -r
complete -c orders -n "__fish_orders_using_subcommand up" -l admin-addr -d 'Address of /livez, /readyz and /metrics; port 0 picks one' -r
complete -c orders -n "__fish_orders_using_subcommand up" -l auth-tokens-file -d 'File of the tokens that requests need, made by `orders token`; it is read again when it changes' -r -F
complete -c orders -n "__fish_orders_using_subcommand up" -l allow-unauthenticated -d 'Listen where other machines reach it without tokens: a proxy authenticates every request' -r
complete -c orders -n "__fish_orders_using_subcommand up" -l allowed-hosts -d 'Names by which clients call a port on loopback, besides localhost, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand up" -l cache-load-limit -d 'How many of the newest orders are loaded at start; 0: none' -r
complete -c orders -n "__fish_orders_using_subcommand up" -l cache-ttl-seconds -d 'How long an order stays' -r
complete -c orders -n "__fish_orders_using_subcommand up" -l cache-max-bytes -d 'How much memory the orders may use, such as 50331648 or 48MiB' -r
complete -c orders -n "__fish_orders_using_subcommand up" -l output -d 'Print data as a table or as JSON' -r -f -a "table\t'Columns for people; plain when piped'
json\t'One JSON document, also when the command fails'"
complete -c orders -n "__fish_orders_using_subcommand up" -l log-format -d 'Write diagnostics as text or as JSON' -r -f -a "text\t'TIME LEVEL message field=value'
json\t'One JSON object a line'"
complete -c orders -n "__fish_orders_using_subcommand up" -l env-file -d 'File with variables [default: .env, where there is one]' -r -F
complete -c orders -n "__fish_orders_using_subcommand up" -l demo -d 'Send an example order, get it back, print the time of each hop, then go on'
complete -c orders -n "__fish_orders_using_subcommand up" -s q -l quiet -d 'Print only warnings and errors on stderr'
complete -c orders -n "__fish_orders_using_subcommand up" -s v -l verbose -d 'Print more on stderr; -vv prints everything'
complete -c orders -n "__fish_orders_using_subcommand up" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orders -n "__fish_orders_using_subcommand migrate" -l db-url -d 'Database, as postgresql://USER@HOST:PORT/DATABASE or sqlite:FILE' -r
complete -c orders -n "__fish_orders_using_subcommand migrate" -l data-dir -d 'Folder of the embedded engines' -r -F
complete -c orders -n "__fish_orders_using_subcommand migrate" -l wait -d 'How long to wait for the database, and for another migration to end [default: 30s; one attempt with --status]' -r
complete -c orders -n "__fish_orders_using_subcommand migrate" -l output -d 'Print data as a table or as JSON' -r -f -a "table\t'Columns for people; plain when piped'
json\t'One JSON document, also when the command fails'"
complete -c orders -n "__fish_orders_using_subcommand migrate" -l log-format -d 'Write diagnostics as text or as JSON' -r -f -a "text\t'TIME LEVEL message field=value'
json\t'One JSON object a line'"
complete -c orders -n "__fish_orders_using_subcommand migrate" -l env-file -d 'File with variables [default: .env, where there is one]' -r -F
complete -c orders -n "__fish_orders_using_subcommand migrate" -l dry-run -d 'Write nothing; list what would be applied'
complete -c orders -n "__fish_orders_using_subcommand migrate" -l status -d 'List the migrations; exit code 3 when one is pending'
complete -c orders -n "__fish_orders_using_subcommand migrate" -s q -l quiet -d 'Print only warnings and errors on stderr'
complete -c orders -n "__fish_orders_using_subcommand migrate" -s v -l verbose -d 'Print more on stderr; -vv prints everything'
complete -c orders -n "__fish_orders_using_subcommand migrate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orders -n "__fish_orders_using_subcommand create-topics" -l brokers -d 'Kafka brokers, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand create-topics" -l topic -d 'Topic of the orders' -r
complete -c orders -n "__fish_orders_using_subcommand create-topics" -l lookup-topic -d 'Topic of the lookups' -r
complete -c orders -n "__fish_orders_using_subcommand create-topics" -l found-topic -d 'Topic of the answers to lookups' -r
complete -c orders -n "__fish_orders_using_subcommand create-topics" -l kafka-properties -d 'Properties of the Kafka client, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand create-topics" -s X -d 'Property of the Kafka client, repeatable; replaces that of KAFKA_PROPERTIES' -r
complete -c orders -n "__fish_orders_using_subcommand create-topics" -l data-dir -d 'Folder of the embedded engines' -r -F
complete -c orders -n "__fish_orders_using_subcommand create-topics" -l partitions -d 'Partitions of the orders topic [default: 4, or 1 when embedded]; the lookup topics have 1' -r
complete -c orders -n "__fish_orders_using_subcommand create-topics" -l replication-factor -d 'Replicas of each partition [default: 3, or the number of brokers if that is less]' -r
complete -c orders -n "__fish_orders_using_subcommand create-topics" -l wait -d 'How long to wait for Kafka, and for the brokers that the replicas need [default: 30s; one attempt with --check]' -r
complete -c orders -n "__fish_orders_using_subcommand create-topics" -l output -d 'Print data as a table or as JSON' -r -f -a "table\t'Columns for people; plain when piped'
json\t'One JSON document, also when the command fails'"
complete -c orders -n "__fish_orders_using_subcommand create-topics" -l log-format -d 'Write diagnostics as text or as JSON' -r -f -a "text\t'TIME LEVEL message field=value'
json\t'One JSON object a line'"
complete -c orders -n "__fish_orders_using_subcommand create-topics" -l env-file -d 'File with variables [default: .env, where there is one]' -r -F
complete -c orders -n "__fish_orders_using_subcommand create-topics" -l check -d 'Change nothing; exit code 3 when a topic is missing or differs'
complete -c orders -n "__fish_orders_using_subcommand create-topics" -l all -d 'List every topic of the cluster'
complete -c orders -n "__fish_orders_using_subcommand create-topics" -s q -l quiet -d 'Print only warnings and errors on stderr'
complete -c orders -n "__fish_orders_using_subcommand create-topics" -s v -l verbose -d 'Print more on stderr; -vv prints everything'
complete -c orders -n "__fish_orders_using_subcommand create-topics" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orders -n "__fish_orders_using_subcommand serve-api" -l brokers -d 'Kafka brokers, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand serve-api" -l topic -d 'Topic of the orders' -r
complete -c orders -n "__fish_orders_using_subcommand serve-api" -l lookup-topic -d 'Topic of the lookups' -r
complete -c orders -n "__fish_orders_using_subcommand serve-api" -l found-topic -d 'Topic of the answers to lookups' -r
complete -c orders -n "__fish_orders_using_subcommand serve-api" -l kafka-properties -d 'Properties of the Kafka client, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand serve-api" -s X -d 'Property of the Kafka client, repeatable; replaces that of KAFKA_PROPERTIES' -r
complete -c orders -n "__fish_orders_using_subcommand serve-api" -l db-url -d 'Database, as postgresql://USER@HOST:PORT/DATABASE or sqlite:FILE' -r
complete -c orders -n "__fish_orders_using_subcommand serve-api" -l data-dir -d 'Folder of the embedded engines' -r -F
complete -c orders -n "__fish_orders_using_subcommand serve-api" -l http-addr -d 'Address of the public API; port 0 picks one' -r
complete -c orders -n "__fish_orders_using_subcommand serve-api" -l keep-alive-s -d 'How long an idle connection is kept' -r
complete -c orders -n "__fish_orders_using_subcommand serve-api" -l max-connections -d 'How many connections there may be' -r
complete -c orders -n "__fish_orders_using_subcommand serve-api" -l lookup-wait-ms -d 'How long a GET waits for its lookup before it answers 202' -r
complete -c orders -n "__fish_orders_using_subcommand serve-api" -l drain-delay -d 'How long requests are still served after the first signal, while /readyz returns 503' -r
complete -c orders -n "__fish_orders_using_subcommand serve-api" -l admin-addr -d 'Address of /livez, /readyz and /metrics; port 0 picks one' -r
complete -c orders -n "__fish_orders_using_subcommand serve-api" -l auth-tokens-file -d 'File of the tokens that requests need, made by `orders token`; it is read again when it changes' -r -F
complete -c orders -n "__fish_orders_using_subcommand serve-api" -l allow-unauthenticated -d 'Listen where other machines reach it without tokens: a proxy authenticates every request' -r
complete -c orders -n "__fish_orders_using_subcommand serve-api" -l allowed-hosts -d 'Names by which clients call a port on loopback, besides localhost, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand serve-api" -l cache-load-limit -d 'How many of the newest orders are loaded at start; 0: none' -r
complete -c orders -n "__fish_orders_using_subcommand serve-api" -l cache-ttl-seconds -d 'How long an order stays' -r
complete -c orders -n "__fish_orders_using_subcommand serve-api" -l cache-max-bytes -d 'How much memory the orders may use, such as 50331648 or 48MiB' -r
complete -c orders -n "__fish_orders_using_subcommand serve-api" -l output -d 'Print data as a table or as JSON' -r -f -a "table\t'Columns for people; plain when piped'
json\t'One JSON document, also when the command fails'"
complete -c orders -n "__fish_orders_using_subcommand serve-api" -l log-format -d 'Write diagnostics as text or as JSON' -r -f -a "text\t'TIME LEVEL message field=value'
json\t'One JSON object a line'"
complete -c orders -n "__fish_orders_using_subcommand serve-api" -l env-file -d 'File with variables [default: .env, where there is one]' -r -F
complete -c orders -n "__fish_orders_using_subcommand serve-api" -s q -l quiet -d 'Print only warnings and errors on stderr'
complete -c orders -n "__fish_orders_using_subcommand serve-api" -s v -l verbose -d 'Print more on stderr; -vv prints everything'
complete -c orders -n "__fish_orders_using_subcommand serve-api" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orders -n "__fish_orders_using_subcommand consume" -l brokers -d 'Kafka brokers, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand consume" -l topic -d 'Topic of the orders' -r
complete -c orders -n "__fish_orders_using_subcommand consume" -l lookup-topic -d 'Topic of the lookups' -r
complete -c orders -n "__fish_orders_using_subcommand consume" -l found-topic -d 'Topic of the answers to lookups' -r
complete -c orders -n "__fish_orders_using_subcommand consume" -l kafka-properties -d 'Properties of the Kafka client, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand consume" -s X -d 'Property of the Kafka client, repeatable; replaces that of KAFKA_PROPERTIES' -r
complete -c orders -n "__fish_orders_using_subcommand consume" -l db-url -d 'Database, as postgresql://USER@HOST:PORT/DATABASE or sqlite:FILE' -r
complete -c orders -n "__fish_orders_using_subcommand consume" -l data-dir -d 'Folder of the embedded engines' -r -F
complete -c orders -n "__fish_orders_using_subcommand consume" -l group -d 'Consumer group' -r
complete -c orders -n "__fish_orders_using_subcommand consume" -l lookup-group -d 'Consumer group of the lookups, one for each set of topics' -r
complete -c orders -n "__fish_orders_using_subcommand consume" -l auth-tokens-file -d 'File of the tokens that requests need, made by `orders token`; it is read again when it changes' -r -F
complete -c orders -n "__fish_orders_using_subcommand consume" -l allow-unauthenticated -d 'Listen where other machines reach it without tokens: a proxy authenticates every request' -r
complete -c orders -n "__fish_orders_using_subcommand consume" -l allowed-hosts -d 'Names by which clients call a port on loopback, besides localhost, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand consume" -l accept-gap -d 'Skip records that were deleted before they were read, repeatable' -r
complete -c orders -n "__fish_orders_using_subcommand consume" -l admin-addr -d 'Address of /livez, /readyz and /metrics; port 0 picks one' -r
complete -c orders -n "__fish_orders_using_subcommand consume" -l output -d 'Print data as a table or as JSON' -r -f -a "table\t'Columns for people; plain when piped'
json\t'One JSON document, also when the command fails'"
complete -c orders -n "__fish_orders_using_subcommand consume" -l log-format -d 'Write diagnostics as text or as JSON' -r -f -a "text\t'TIME LEVEL message field=value'
json\t'One JSON object a line'"
complete -c orders -n "__fish_orders_using_subcommand consume" -l env-file -d 'File with variables [default: .env, where there is one]' -r -F
complete -c orders -n "__fish_orders_using_subcommand consume" -s q -l quiet -d 'Print only warnings and errors on stderr'
complete -c orders -n "__fish_orders_using_subcommand consume" -s v -l verbose -d 'Print more on stderr; -vv prints everything'
complete -c orders -n "__fish_orders_using_subcommand consume" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orders -n "__fish_orders_using_subcommand send" -l timeout -d 'How long to retry an order that the API does not confirm' -r
complete -c orders -n "__fish_orders_using_subcommand send" -l api-url -d 'URL of the API' -r
complete -c orders -n "__fish_orders_using_subcommand send" -l token-file -d 'File with the token to send; ORDERS_TOKEN may hold the token itself' -r -F
complete -c orders -n "__fish_orders_using_subcommand send" -l output -d 'Print data as a table or as JSON' -r -f -a "table\t'Columns for people; plain when piped'
json\t'One JSON document, also when the command fails'"
complete -c orders -n "__fish_orders_using_subcommand send" -l log-format -d 'Write diagnostics as text or as JSON' -r -f -a "text\t'TIME LEVEL message field=value'
json\t'One JSON object a line'"
complete -c orders -n "__fish_orders_using_subcommand send" -l env-file -d 'File with variables [default: .env, where there is one]' -r -F
complete -c orders -n "__fish_orders_using_subcommand send" -s q -l quiet -d 'Print only warnings and errors on stderr'
complete -c orders -n "__fish_orders_using_subcommand send" -s v -l verbose -d 'Print more on stderr; -vv prints everything'
complete -c orders -n "__fish_orders_using_subcommand send" -s h -l help -d 'Print help'
complete -c orders -n "__fish_orders_using_subcommand get" -l wait -d 'How long to wait while the API does not know yet [default: one request]' -r
complete -c orders -n "__fish_orders_using_subcommand get" -l api-url -d 'URL of the API' -r
complete -c orders -n "__fish_orders_using_subcommand get" -l token-file -d 'File with the token to send; ORDERS_TOKEN may hold the token itself' -r -F
complete -c orders -n "__fish_orders_using_subcommand get" -l output -d 'Print data as a table or as JSON' -r -f -a "table\t'Columns for people; plain when piped'
json\t'One JSON document, also when the command fails'"
complete -c orders -n "__fish_orders_using_subcommand get" -l log-format -d 'Write diagnostics as text or as JSON' -r -f -a "text\t'TIME LEVEL message field=value'
json\t'One JSON object a line'"
complete -c orders -n "__fish_orders_using_subcommand get" -l env-file -d 'File with variables [default: .env, where there is one]' -r -F
complete -c orders -n "__fish_orders_using_subcommand get" -s q -l quiet -d 'Print only warnings and errors on stderr'
complete -c orders -n "__fish_orders_using_subcommand get" -s v -l verbose -d 'Print more on stderr; -vv prints everything'
complete -c orders -n "__fish_orders_using_subcommand get" -s h -l help -d 'Print help'
complete -c orders -n "__fish_orders_using_subcommand list" -l latest -d 'At most so many orders, the newest first' -r
complete -c orders -n "__fish_orders_using_subcommand list" -l customer -d 'Only orders with this customer_id' -r
complete -c orders -n "__fish_orders_using_subcommand list" -l track -d 'Only orders with this track_number' -r
complete -c orders -n "__fish_orders_using_subcommand list" -l since -d 'Only orders accepted since: 2026-11-27, 2026-11-27T08:00:00Z or -1h' -r
complete -c orders -n "__fish_orders_using_subcommand list" -l until -d 'Only orders accepted before' -r
complete -c orders -n "__fish_orders_using_subcommand list" -l format -d 'How to print them' -r -f -a "table\t'A table'
wide\t'A table with all columns'
uid\t'One uid a line'
ndjson\t'One JSON document a line'"
complete -c orders -n "__fish_orders_using_subcommand list" -l db-url -d 'Database, as postgresql://USER@HOST:PORT/DATABASE or sqlite:FILE' -r
complete -c orders -n "__fish_orders_using_subcommand list" -l data-dir -d 'Folder of the embedded engines' -r -F
complete -c orders -n "__fish_orders_using_subcommand list" -l output -d 'Print data as a table or as JSON' -r -f -a "table\t'Columns for people; plain when piped'
json\t'One JSON document, also when the command fails'"
complete -c orders -n "__fish_orders_using_subcommand list" -l log-format -d 'Write diagnostics as text or as JSON' -r -f -a "text\t'TIME LEVEL message field=value'
json\t'One JSON object a line'"
complete -c orders -n "__fish_orders_using_subcommand list" -l env-file -d 'File with variables [default: .env, where there is one]' -r -F
complete -c orders -n "__fish_orders_using_subcommand list" -s q -l quiet -d 'Print only warnings and errors on stderr'
complete -c orders -n "__fish_orders_using_subcommand list" -s v -l verbose -d 'Print more on stderr; -vv prints everything'
complete -c orders -n "__fish_orders_using_subcommand list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orders -n "__fish_orders_using_subcommand status" -l wait-healthy -d 'Wait until every part is healthy, for at most that time' -r
complete -c orders -n "__fish_orders_using_subcommand status" -l brokers -d 'Kafka brokers, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand status" -l topic -d 'Topic of the orders' -r
complete -c orders -n "__fish_orders_using_subcommand status" -l lookup-topic -d 'Topic of the lookups' -r
complete -c orders -n "__fish_orders_using_subcommand status" -l found-topic -d 'Topic of the answers to lookups' -r
complete -c orders -n "__fish_orders_using_subcommand status" -l kafka-properties -d 'Properties of the Kafka client, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand status" -s X -d 'Property of the Kafka client, repeatable; replaces that of KAFKA_PROPERTIES' -r
complete -c orders -n "__fish_orders_using_subcommand status" -l db-url -d 'Database, as postgresql://USER@HOST:PORT/DATABASE or sqlite:FILE' -r
complete -c orders -n "__fish_orders_using_subcommand status" -l data-dir -d 'Folder of the embedded engines' -r -F
complete -c orders -n "__fish_orders_using_subcommand status" -l group -d 'Consumer group' -r
complete -c orders -n "__fish_orders_using_subcommand status" -l lookup-group -d 'Consumer group of the lookups, one for each set of topics' -r
complete -c orders -n "__fish_orders_using_subcommand status" -l api-url -d 'URL of the API' -r
complete -c orders -n "__fish_orders_using_subcommand status" -l token-file -d 'File with the token to send; ORDERS_TOKEN may hold the token itself' -r -F
complete -c orders -n "__fish_orders_using_subcommand status" -l admin -d 'URL of the operators\' port of a service on another machine, repeatable' -r
complete -c orders -n "__fish_orders_using_subcommand status" -l output -d 'Print data as a table or as JSON' -r -f -a "table\t'Columns for people; plain when piped'
json\t'One JSON document, also when the command fails'"
complete -c orders -n "__fish_orders_using_subcommand status" -l log-format -d 'Write diagnostics as text or as JSON' -r -f -a "text\t'TIME LEVEL message field=value'
json\t'One JSON object a line'"
complete -c orders -n "__fish_orders_using_subcommand status" -l env-file -d 'File with variables [default: .env, where there is one]' -r -F
complete -c orders -n "__fish_orders_using_subcommand status" -l watch -d 'Repeat it every two seconds; with --output json one document a line'
complete -c orders -n "__fish_orders_using_subcommand status" -s q -l quiet -d 'Print only warnings and errors on stderr'
complete -c orders -n "__fish_orders_using_subcommand status" -s v -l verbose -d 'Print more on stderr; -vv prints everything'
complete -c orders -n "__fish_orders_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orders -n "__fish_orders_using_subcommand lag" -l fail-over -d 'Exit code 3 when more records wait, or one waits for longer' -r
complete -c orders -n "__fish_orders_using_subcommand lag" -l brokers -d 'Kafka brokers, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand lag" -l topic -d 'Topic of the orders' -r
complete -c orders -n "__fish_orders_using_subcommand lag" -l lookup-topic -d 'Topic of the lookups' -r
complete -c orders -n "__fish_orders_using_subcommand lag" -l found-topic -d 'Topic of the answers to lookups' -r
complete -c orders -n "__fish_orders_using_subcommand lag" -l kafka-properties -d 'Properties of the Kafka client, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand lag" -s X -d 'Property of the Kafka client, repeatable; replaces that of KAFKA_PROPERTIES' -r
complete -c orders -n "__fish_orders_using_subcommand lag" -l db-url -d 'Database, as postgresql://USER@HOST:PORT/DATABASE or sqlite:FILE' -r
complete -c orders -n "__fish_orders_using_subcommand lag" -l data-dir -d 'Folder of the embedded engines' -r -F
complete -c orders -n "__fish_orders_using_subcommand lag" -l group -d 'Consumer group' -r
complete -c orders -n "__fish_orders_using_subcommand lag" -l lookup-group -d 'Consumer group of the lookups, one for each set of topics' -r
complete -c orders -n "__fish_orders_using_subcommand lag" -l output -d 'Print data as a table or as JSON' -r -f -a "table\t'Columns for people; plain when piped'
json\t'One JSON document, also when the command fails'"
complete -c orders -n "__fish_orders_using_subcommand lag" -l log-format -d 'Write diagnostics as text or as JSON' -r -f -a "text\t'TIME LEVEL message field=value'
json\t'One JSON object a line'"
complete -c orders -n "__fish_orders_using_subcommand lag" -l env-file -d 'File with variables [default: .env, where there is one]' -r -F
complete -c orders -n "__fish_orders_using_subcommand lag" -l watch -d 'Repeat it every two seconds; with --output json one document a line'
complete -c orders -n "__fish_orders_using_subcommand lag" -s q -l quiet -d 'Print only warnings and errors on stderr'
complete -c orders -n "__fish_orders_using_subcommand lag" -s v -l verbose -d 'Print more on stderr; -vv prints everything'
complete -c orders -n "__fish_orders_using_subcommand lag" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orders -n "__fish_orders_using_subcommand gaps; and not __fish_seen_subcommand_from list accept help" -l brokers -d 'Kafka brokers, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand gaps; and not __fish_seen_subcommand_from list accept help" -l topic -d 'Topic of the orders' -r
complete -c orders -n "__fish_orders_using_subcommand gaps; and not __fish_seen_subcommand_from list accept help" -l lookup-topic -d 'Topic of the lookups' -r
complete -c orders -n "__fish_orders_using_subcommand gaps; and not __fish_seen_subcommand_from list accept help" -l found-topic -d 'Topic of the answers to lookups' -r
complete -c orders -n "__fish_orders_using_subcommand gaps; and not __fish_seen_subcommand_from list accept help" -l kafka-properties -d 'Properties of the Kafka client, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand gaps; and not __fish_seen_subcommand_from list accept help" -s X -d 'Property of the Kafka client, repeatable; replaces that of KAFKA_PROPERTIES' -r
complete -c orders -n "__fish_orders_using_subcommand gaps; and not __fish_seen_subcommand_from list accept help" -l db-url -d 'Database, as postgresql://USER@HOST:PORT/DATABASE or sqlite:FILE' -r
complete -c orders -n "__fish_orders_using_subcommand gaps; and not __fish_seen_subcommand_from list accept help" -l data-dir -d 'Folder of the embedded engines' -r -F
complete -c orders -n "__fish_orders_using_subcommand gaps; and not __fish_seen_subcommand_from list accept help" -l output -d 'Print data as a table or as JSON' -r -f -a "table\t'Columns for people; plain when piped'
json\t'One JSON document, also when the command fails'"
complete -c orders -n "__fish_orders_using_subcommand gaps; and not __fish_seen_subcommand_from list accept help" -l log-format -d 'Write diagnostics as text or as JSON' -r -f -a "text\t'TIME LEVEL message field=value'
json\t'One JSON object a line'"
complete -c orders -n "__fish_orders_using_subcommand gaps; and not __fish_seen_subcommand_from list accept help" -l env-file -d 'File with variables [default: .env, where there is one]' -r -F
complete -c orders -n "__fish_orders_using_subcommand gaps; and not __fish_seen_subcommand_from list accept help" -s q -l quiet -d 'Print only warnings and errors on stderr'
complete -c orders -n "__fish_orders_using_subcommand gaps; and not __fish_seen_subcommand_from list accept help" -s v -l verbose -d 'Print more on stderr; -vv prints everything'
complete -c orders -n "__fish_orders_using_subcommand gaps; and not __fish_seen_subcommand_from list accept help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orders -n "__fish_orders_using_subcommand gaps; and not __fish_seen_subcommand_from list accept help" -f -a "list" -d 'List the gaps (the default)'
complete -c orders -n "__fish_orders_using_subcommand gaps; and not __fish_seen_subcommand_from list accept help" -f -a "accept" -d 'Let the consumer go on after a gap'
complete -c orders -n "__fish_orders_using_subcommand gaps; and not __fish_seen_subcommand_from list accept help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c orders -n "__fish_orders_using_subcommand gaps; and __fish_seen_subcommand_from list" -l brokers -d 'Kafka brokers, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand gaps; and __fish_seen_subcommand_from list" -l topic -d 'Topic of the orders' -r
complete -c orders -n "__fish_orders_using_subcommand gaps; and __fish_seen_subcommand_from list" -l lookup-topic -d 'Topic of the lookups' -r
complete -c orders -n "__fish_orders_using_subcommand gaps; and __fish_seen_subcommand_from list" -l found-topic -d 'Topic of the answers to lookups' -r
complete -c orders -n "__fish_orders_using_subcommand gaps; and __fish_seen_subcommand_from list" -l kafka-properties -d 'Properties of the Kafka client, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand gaps; and __fish_seen_subcommand_from list" -s X -d 'Property of the Kafka client, repeatable; replaces that of KAFKA_PROPERTIES' -r
complete -c orders -n "__fish_orders_using_subcommand gaps; and __fish_seen_subcommand_from list" -l db-url -d 'Database, as postgresql://USER@HOST:PORT/DATABASE or sqlite:FILE' -r
complete -c orders -n "__fish_orders_using_subcommand gaps; and __fish_seen_subcommand_from list" -l data-dir -d 'Folder of the embedded engines' -r -F
complete -c orders -n "__fish_orders_using_subcommand gaps; and __fish_seen_subcommand_from list" -l output -d 'Print data as a table or as JSON' -r -f -a "table\t'Columns for people; plain when piped'
json\t'One JSON document, also when the command fails'"
complete -c orders -n "__fish_orders_using_subcommand gaps; and __fish_seen_subcommand_from list" -l log-format -d 'Write diagnostics as text or as JSON' -r -f -a "text\t'TIME LEVEL message field=value'
json\t'One JSON object a line'"
complete -c orders -n "__fish_orders_using_subcommand gaps; and __fish_seen_subcommand_from list" -l env-file -d 'File with variables [default: .env, where there is one]' -r -F
complete -c orders -n "__fish_orders_using_subcommand gaps; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Print only warnings and errors on stderr'
complete -c orders -n "__fish_orders_using_subcommand gaps; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Print more on stderr; -vv prints everything'
complete -c orders -n "__fish_orders_using_subcommand gaps; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orders -n "__fish_orders_using_subcommand gaps; and __fish_seen_subcommand_from accept" -l why -d 'Why, kept with who and when' -r
complete -c orders -n "__fish_orders_using_subcommand gaps; and __fish_seen_subcommand_from accept" -l brokers -d 'Kafka brokers, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand gaps; and __fish_seen_subcommand_from accept" -l topic -d 'Topic of the orders' -r
complete -c orders -n "__fish_orders_using_subcommand gaps; and __fish_seen_subcommand_from accept" -l lookup-topic -d 'Topic of the lookups' -r
complete -c orders -n "__fish_orders_using_subcommand gaps; and __fish_seen_subcommand_from accept" -l found-topic -d 'Topic of the answers to lookups' -r
complete -c orders -n "__fish_orders_using_subcommand gaps; and __fish_seen_subcommand_from accept" -l kafka-properties -d 'Properties of the Kafka client, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand gaps; and __fish_seen_subcommand_from accept" -s X -d 'Property of the Kafka client, repeatable; replaces that of KAFKA_PROPERTIES' -r
complete -c orders -n "__fish_orders_using_subcommand gaps; and __fish_seen_subcommand_from accept" -l db-url -d 'Database, as postgresql://USER@HOST:PORT/DATABASE or sqlite:FILE' -r
complete -c orders -n "__fish_orders_using_subcommand gaps; and __fish_seen_subcommand_from accept" -l data-dir -d 'Folder of the embedded engines' -r -F
complete -c orders -n "__fish_orders_using_subcommand gaps; and __fish_seen_subcommand_from accept" -l output -d 'Print data as a table or as JSON' -r -f -a "table\t'Columns for people; plain when piped'
json\t'One JSON document, also when the command fails'"
complete -c orders -n "__fish_orders_using_subcommand gaps; and __fish_seen_subcommand_from accept" -l log-format -d 'Write diagnostics as text or as JSON' -r -f -a "text\t'TIME LEVEL message field=value'
json\t'One JSON object a line'"
complete -c orders -n "__fish_orders_using_subcommand gaps; and __fish_seen_subcommand_from accept" -l env-file -d 'File with variables [default: .env, where there is one]' -r -F
complete -c orders -n "__fish_orders_using_subcommand gaps; and __fish_seen_subcommand_from accept" -l dry-run -d 'Only check that there is such a gap'
complete -c orders -n "__fish_orders_using_subcommand gaps; and __fish_seen_subcommand_from accept" -l yes -d 'Do not ask'
complete -c orders -n "__fish_orders_using_subcommand gaps; and __fish_seen_subcommand_from accept" -s q -l quiet -d 'Print only warnings and errors on stderr'
complete -c orders -n "__fish_orders_using_subcommand gaps; and __fish_seen_subcommand_from accept" -s v -l verbose -d 'Print more on stderr; -vv prints everything'
complete -c orders -n "__fish_orders_using_subcommand gaps; and __fish_seen_subcommand_from accept" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orders -n "__fish_orders_using_subcommand gaps; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the gaps (the default)'
complete -c orders -n "__fish_orders_using_subcommand gaps; and __fish_seen_subcommand_from help" -f -a "accept" -d 'Let the consumer go on after a gap'
complete -c orders -n "__fish_orders_using_subcommand gaps; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c orders -n "__fish_orders_using_subcommand replay" -l since -d 'Records written to the log since: 2026-11-27, 2026-11-27T08:00:00Z or -1h' -r
complete -c orders -n "__fish_orders_using_subcommand replay" -l from -d 'Records of one partition from an offset on, repeatable' -r
complete -c orders -n "__fish_orders_using_subcommand replay" -l uid -d 'Records of one order, repeatable' -r
complete -c orders -n "__fish_orders_using_subcommand replay" -l why -d 'Why, kept with who and when' -r
complete -c orders -n "__fish_orders_using_subcommand replay" -l brokers -d 'Kafka brokers, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand replay" -l topic -d 'Topic of the orders' -r
complete -c orders -n "__fish_orders_using_subcommand replay" -l lookup-topic -d 'Topic of the lookups' -r
complete -c orders -n "__fish_orders_using_subcommand replay" -l found-topic -d 'Topic of the answers to lookups' -r
complete -c orders -n "__fish_orders_using_subcommand replay" -l kafka-properties -d 'Properties of the Kafka client, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand replay" -s X -d 'Property of the Kafka client, repeatable; replaces that of KAFKA_PROPERTIES' -r
complete -c orders -n "__fish_orders_using_subcommand replay" -l db-url -d 'Database, as postgresql://USER@HOST:PORT/DATABASE or sqlite:FILE' -r
complete -c orders -n "__fish_orders_using_subcommand replay" -l data-dir -d 'Folder of the embedded engines' -r -F
complete -c orders -n "__fish_orders_using_subcommand replay" -l output -d 'Print data as a table or as JSON' -r -f -a "table\t'Columns for people; plain when piped'
json\t'One JSON document, also when the command fails'"
complete -c orders -n "__fish_orders_using_subcommand replay" -l log-format -d 'Write diagnostics as text or as JSON' -r -f -a "text\t'TIME LEVEL message field=value'
json\t'One JSON object a line'"
complete -c orders -n "__fish_orders_using_subcommand replay" -l env-file -d 'File with variables [default: .env, where there is one]' -r -F
complete -c orders -n "__fish_orders_using_subcommand replay" -l scan -d 'With `--uid`: read the whole topic, under any key'
complete -c orders -n "__fish_orders_using_subcommand replay" -l dry-run -d 'List what would be applied again, change nothing'
complete -c orders -n "__fish_orders_using_subcommand replay" -l yes -d 'Do not ask'
complete -c orders -n "__fish_orders_using_subcommand replay" -s q -l quiet -d 'Print only warnings and errors on stderr'
complete -c orders -n "__fish_orders_using_subcommand replay" -s v -l verbose -d 'Print more on stderr; -vv prints everything'
complete -c orders -n "__fish_orders_using_subcommand replay" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and not __fish_seen_subcommand_from list show retry edit discard prune help" -l state -d 'Open ones, resolved ones or all [default: open]' -r -f -a "open\t'Those that count'
resolved\t'Retried, outdated, discarded, erased'
all\t'Both'"
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and not __fish_seen_subcommand_from list show retry edit discard prune help" -l reason -d 'Only those whose reason matches a regular expression' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and not __fish_seen_subcommand_from list show retry edit discard prune help" -l since -d 'Only those dead since: 2026-11-27, 2026-11-27T08:00:00Z or -1h' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and not __fish_seen_subcommand_from list show retry edit discard prune help" -l until -d 'Only those dead before' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and not __fish_seen_subcommand_from list show retry edit discard prune help" -l uid -d 'Only those of this order' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and not __fish_seen_subcommand_from list show retry edit discard prune help" -l key -d 'Only those whose record has this key' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and not __fish_seen_subcommand_from list show retry edit discard prune help" -l partition -d 'Only those of this partition' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and not __fish_seen_subcommand_from list show retry edit discard prune help" -l brokers -d 'Kafka brokers, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and not __fish_seen_subcommand_from list show retry edit discard prune help" -l topic -d 'Topic of the orders' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and not __fish_seen_subcommand_from list show retry edit discard prune help" -l lookup-topic -d 'Topic of the lookups' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and not __fish_seen_subcommand_from list show retry edit discard prune help" -l found-topic -d 'Topic of the answers to lookups' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and not __fish_seen_subcommand_from list show retry edit discard prune help" -l kafka-properties -d 'Properties of the Kafka client, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and not __fish_seen_subcommand_from list show retry edit discard prune help" -s X -d 'Property of the Kafka client, repeatable; replaces that of KAFKA_PROPERTIES' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and not __fish_seen_subcommand_from list show retry edit discard prune help" -l db-url -d 'Database, as postgresql://USER@HOST:PORT/DATABASE or sqlite:FILE' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and not __fish_seen_subcommand_from list show retry edit discard prune help" -l data-dir -d 'Folder of the embedded engines' -r -F
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and not __fish_seen_subcommand_from list show retry edit discard prune help" -l output -d 'Print data as a table or as JSON' -r -f -a "table\t'Columns for people; plain when piped'
json\t'One JSON document, also when the command fails'"
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and not __fish_seen_subcommand_from list show retry edit discard prune help" -l log-format -d 'Write diagnostics as text or as JSON' -r -f -a "text\t'TIME LEVEL message field=value'
json\t'One JSON object a line'"
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and not __fish_seen_subcommand_from list show retry edit discard prune help" -l env-file -d 'File with variables [default: .env, where there is one]' -r -F
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and not __fish_seen_subcommand_from list show retry edit discard prune help" -l each -d 'One a line instead of by reason; at most 100,000'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and not __fish_seen_subcommand_from list show retry edit discard prune help" -s q -l quiet -d 'Print only warnings and errors on stderr'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and not __fish_seen_subcommand_from list show retry edit discard prune help" -s v -l verbose -d 'Print more on stderr; -vv prints everything'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and not __fish_seen_subcommand_from list show retry edit discard prune help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and not __fish_seen_subcommand_from list show retry edit discard prune help" -f -a "list" -d 'List them by reason (the default), or each'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and not __fish_seen_subcommand_from list show retry edit discard prune help" -f -a "show" -d 'Print everything known of one'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and not __fish_seen_subcommand_from list show retry edit discard prune help" -f -a "retry" -d 'Decode them again, or mended orders in their place, and store them'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and not __fish_seen_subcommand_from list show retry edit discard prune help" -f -a "edit" -d 'Mend one in an editor, and store it'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and not __fish_seen_subcommand_from list show retry edit discard prune help" -f -a "discard" -d 'Give them up without storing anything'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and not __fish_seen_subcommand_from list show retry edit discard prune help" -f -a "prune" -d 'Delete resolved ones'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and not __fish_seen_subcommand_from list show retry edit discard prune help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from list" -l state -d 'Open ones, resolved ones or all [default: open]' -r -f -a "open\t'Those that count'
resolved\t'Retried, outdated, discarded, erased'
all\t'Both'"
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from list" -l reason -d 'Only those whose reason matches a regular expression' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from list" -l since -d 'Only those dead since: 2026-11-27, 2026-11-27T08:00:00Z or -1h' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from list" -l until -d 'Only those dead before' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from list" -l uid -d 'Only those of this order' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from list" -l key -d 'Only those whose record has this key' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from list" -l partition -d 'Only those of this partition' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from list" -l brokers -d 'Kafka brokers, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from list" -l topic -d 'Topic of the orders' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from list" -l lookup-topic -d 'Topic of the lookups' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from list" -l found-topic -d 'Topic of the answers to lookups' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from list" -l kafka-properties -d 'Properties of the Kafka client, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from list" -s X -d 'Property of the Kafka client, repeatable; replaces that of KAFKA_PROPERTIES' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from list" -l db-url -d 'Database, as postgresql://USER@HOST:PORT/DATABASE or sqlite:FILE' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from list" -l data-dir -d 'Folder of the embedded engines' -r -F
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from list" -l output -d 'Print data as a table or as JSON' -r -f -a "table\t'Columns for people; plain when piped'
json\t'One JSON document, also when the command fails'"
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from list" -l log-format -d 'Write diagnostics as text or as JSON' -r -f -a "text\t'TIME LEVEL message field=value'
json\t'One JSON object a line'"
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from list" -l env-file -d 'File with variables [default: .env, where there is one]' -r -F
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from list" -l each -d 'One a line instead of by reason; at most 100,000'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Print only warnings and errors on stderr'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Print more on stderr; -vv prints everything'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from show" -l brokers -d 'Kafka brokers, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from show" -l topic -d 'Topic of the orders' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from show" -l lookup-topic -d 'Topic of the lookups' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from show" -l found-topic -d 'Topic of the answers to lookups' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from show" -l kafka-properties -d 'Properties of the Kafka client, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from show" -s X -d 'Property of the Kafka client, repeatable; replaces that of KAFKA_PROPERTIES' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from show" -l db-url -d 'Database, as postgresql://USER@HOST:PORT/DATABASE or sqlite:FILE' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from show" -l data-dir -d 'Folder of the embedded engines' -r -F
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from show" -l output -d 'Print data as a table or as JSON' -r -f -a "table\t'Columns for people; plain when piped'
json\t'One JSON document, also when the command fails'"
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from show" -l log-format -d 'Write diagnostics as text or as JSON' -r -f -a "text\t'TIME LEVEL message field=value'
json\t'One JSON object a line'"
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from show" -l env-file -d 'File with variables [default: .env, where there is one]' -r -F
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from show" -l reveal -d 'Show personal data'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from show" -s q -l quiet -d 'Print only warnings and errors on stderr'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Print more on stderr; -vv prints everything'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from retry" -l reason -d 'Only those whose reason matches a regular expression' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from retry" -l since -d 'Only those dead since: 2026-11-27, 2026-11-27T08:00:00Z or -1h' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from retry" -l until -d 'Only those dead before' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from retry" -l uid -d 'Only those of this order' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from retry" -l key -d 'Only those whose record has this key' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from retry" -l partition -d 'Only those of this partition' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from retry" -l file -d 'Mended orders: one, an array, or one a line; each takes the place of its dead letters\' payloads' -r -F
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from retry" -l id -d 'The dead letter of the one order in the file' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from retry" -l why -d 'Why, kept with who and when' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from retry" -l brokers -d 'Kafka brokers, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from retry" -l topic -d 'Topic of the orders' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from retry" -l lookup-topic -d 'Topic of the lookups' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from retry" -l found-topic -d 'Topic of the answers to lookups' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from retry" -l kafka-properties -d 'Properties of the Kafka client, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from retry" -s X -d 'Property of the Kafka client, repeatable; replaces that of KAFKA_PROPERTIES' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from retry" -l db-url -d 'Database, as postgresql://USER@HOST:PORT/DATABASE or sqlite:FILE' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from retry" -l data-dir -d 'Folder of the embedded engines' -r -F
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from retry" -l output -d 'Print data as a table or as JSON' -r -f -a "table\t'Columns for people; plain when piped'
json\t'One JSON document, also when the command fails'"
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from retry" -l log-format -d 'Write diagnostics as text or as JSON' -r -f -a "text\t'TIME LEVEL message field=value'
json\t'One JSON object a line'"
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from retry" -l env-file -d 'File with variables [default: .env, where there is one]' -r -F
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from retry" -l all -d 'All open ones'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from retry" -l dry-run -d 'Show what would happen, change nothing'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from retry" -l yes -d 'Do not ask'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from retry" -s q -l quiet -d 'Print only warnings and errors on stderr'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from retry" -s v -l verbose -d 'Print more on stderr; -vv prints everything'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from retry" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from edit" -l why -d 'Why, kept with who and when' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from edit" -l brokers -d 'Kafka brokers, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from edit" -l topic -d 'Topic of the orders' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from edit" -l lookup-topic -d 'Topic of the lookups' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from edit" -l found-topic -d 'Topic of the answers to lookups' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from edit" -l kafka-properties -d 'Properties of the Kafka client, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from edit" -s X -d 'Property of the Kafka client, repeatable; replaces that of KAFKA_PROPERTIES' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from edit" -l db-url -d 'Database, as postgresql://USER@HOST:PORT/DATABASE or sqlite:FILE' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from edit" -l data-dir -d 'Folder of the embedded engines' -r -F
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from edit" -l output -d 'Print data as a table or as JSON' -r -f -a "table\t'Columns for people; plain when piped'
json\t'One JSON document, also when the command fails'"
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from edit" -l log-format -d 'Write diagnostics as text or as JSON' -r -f -a "text\t'TIME LEVEL message field=value'
json\t'One JSON object a line'"
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from edit" -l env-file -d 'File with variables [default: .env, where there is one]' -r -F
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from edit" -s q -l quiet -d 'Print only warnings and errors on stderr'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from edit" -s v -l verbose -d 'Print more on stderr; -vv prints everything'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from edit" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from discard" -l reason -d 'Only those whose reason matches a regular expression' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from discard" -l since -d 'Only those dead since: 2026-11-27, 2026-11-27T08:00:00Z or -1h' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from discard" -l until -d 'Only those dead before' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from discard" -l uid -d 'Only those of this order' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from discard" -l key -d 'Only those whose record has this key' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from discard" -l partition -d 'Only those of this partition' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from discard" -l why -d 'Why, kept with who and when' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from discard" -l brokers -d 'Kafka brokers, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from discard" -l topic -d 'Topic of the orders' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from discard" -l lookup-topic -d 'Topic of the lookups' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from discard" -l found-topic -d 'Topic of the answers to lookups' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from discard" -l kafka-properties -d 'Properties of the Kafka client, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from discard" -s X -d 'Property of the Kafka client, repeatable; replaces that of KAFKA_PROPERTIES' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from discard" -l db-url -d 'Database, as postgresql://USER@HOST:PORT/DATABASE or sqlite:FILE' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from discard" -l data-dir -d 'Folder of the embedded engines' -r -F
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from discard" -l output -d 'Print data as a table or as JSON' -r -f -a "table\t'Columns for people; plain when piped'
json\t'One JSON document, also when the command fails'"
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from discard" -l log-format -d 'Write diagnostics as text or as JSON' -r -f -a "text\t'TIME LEVEL message field=value'
json\t'One JSON object a line'"
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from discard" -l env-file -d 'File with variables [default: .env, where there is one]' -r -F
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from discard" -l all -d 'All open ones'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from discard" -l dry-run -d 'Show what would happen, change nothing'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from discard" -l yes -d 'Do not ask'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from discard" -s q -l quiet -d 'Print only warnings and errors on stderr'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from discard" -s v -l verbose -d 'Print more on stderr; -vv prints everything'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from discard" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from prune" -l resolved-before -d 'Only those resolved before: 2026-11-27, 2026-11-27T08:00:00Z or -90d' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from prune" -l brokers -d 'Kafka brokers, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from prune" -l topic -d 'Topic of the orders' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from prune" -l lookup-topic -d 'Topic of the lookups' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from prune" -l found-topic -d 'Topic of the answers to lookups' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from prune" -l kafka-properties -d 'Properties of the Kafka client, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from prune" -s X -d 'Property of the Kafka client, repeatable; replaces that of KAFKA_PROPERTIES' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from prune" -l db-url -d 'Database, as postgresql://USER@HOST:PORT/DATABASE or sqlite:FILE' -r
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from prune" -l data-dir -d 'Folder of the embedded engines' -r -F
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from prune" -l output -d 'Print data as a table or as JSON' -r -f -a "table\t'Columns for people; plain when piped'
json\t'One JSON document, also when the command fails'"
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from prune" -l log-format -d 'Write diagnostics as text or as JSON' -r -f -a "text\t'TIME LEVEL message field=value'
json\t'One JSON object a line'"
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from prune" -l env-file -d 'File with variables [default: .env, where there is one]' -r -F
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from prune" -l dry-run -d 'Count them, delete nothing'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from prune" -l yes -d 'Do not ask'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from prune" -s q -l quiet -d 'Print only warnings and errors on stderr'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from prune" -s v -l verbose -d 'Print more on stderr; -vv prints everything'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from prune" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from help" -f -a "list" -d 'List them by reason (the default), or each'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from help" -f -a "show" -d 'Print everything known of one'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from help" -f -a "retry" -d 'Decode them again, or mended orders in their place, and store them'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from help" -f -a "edit" -d 'Mend one in an editor, and store it'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from help" -f -a "discard" -d 'Give them up without storing anything'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from help" -f -a "prune" -d 'Delete resolved ones'
complete -c orders -n "__fish_orders_using_subcommand dead-letters; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c orders -n "__fish_orders_using_subcommand erase" -l why -d 'Why, kept with who and when: without personal data' -r
complete -c orders -n "__fish_orders_using_subcommand erase" -l brokers -d 'Kafka brokers, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand erase" -l topic -d 'Topic of the orders' -r
complete -c orders -n "__fish_orders_using_subcommand erase" -l lookup-topic -d 'Topic of the lookups' -r
complete -c orders -n "__fish_orders_using_subcommand erase" -l found-topic -d 'Topic of the answers to lookups' -r
complete -c orders -n "__fish_orders_using_subcommand erase" -l kafka-properties -d 'Properties of the Kafka client, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand erase" -s X -d 'Property of the Kafka client, repeatable; replaces that of KAFKA_PROPERTIES' -r
complete -c orders -n "__fish_orders_using_subcommand erase" -l db-url -d 'Database, as postgresql://USER@HOST:PORT/DATABASE or sqlite:FILE' -r
complete -c orders -n "__fish_orders_using_subcommand erase" -l data-dir -d 'Folder of the embedded engines' -r -F
complete -c orders -n "__fish_orders_using_subcommand erase" -l output -d 'Print data as a table or as JSON' -r -f -a "table\t'Columns for people; plain when piped'
json\t'One JSON document, also when the command fails'"
complete -c orders -n "__fish_orders_using_subcommand erase" -l log-format -d 'Write diagnostics as text or as JSON' -r -f -a "text\t'TIME LEVEL message field=value'
json\t'One JSON object a line'"
complete -c orders -n "__fish_orders_using_subcommand erase" -l env-file -d 'File with variables [default: .env, where there is one]' -r -F
complete -c orders -n "__fish_orders_using_subcommand erase" -l dry-run -d 'Say what would be erased, change nothing'
complete -c orders -n "__fish_orders_using_subcommand erase" -l yes -d 'Do not ask'
complete -c orders -n "__fish_orders_using_subcommand erase" -s q -l quiet -d 'Print only warnings and errors on stderr'
complete -c orders -n "__fish_orders_using_subcommand erase" -s v -l verbose -d 'Print more on stderr; -vv prints everything'
complete -c orders -n "__fish_orders_using_subcommand erase" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orders -n "__fish_orders_using_subcommand trace" -l brokers -d 'Kafka brokers, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand trace" -l topic -d 'Topic of the orders' -r
complete -c orders -n "__fish_orders_using_subcommand trace" -l lookup-topic -d 'Topic of the lookups' -r
complete -c orders -n "__fish_orders_using_subcommand trace" -l found-topic -d 'Topic of the answers to lookups' -r
complete -c orders -n "__fish_orders_using_subcommand trace" -l kafka-properties -d 'Properties of the Kafka client, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand trace" -s X -d 'Property of the Kafka client, repeatable; replaces that of KAFKA_PROPERTIES' -r
complete -c orders -n "__fish_orders_using_subcommand trace" -l db-url -d 'Database, as postgresql://USER@HOST:PORT/DATABASE or sqlite:FILE' -r
complete -c orders -n "__fish_orders_using_subcommand trace" -l data-dir -d 'Folder of the embedded engines' -r -F
complete -c orders -n "__fish_orders_using_subcommand trace" -l api-url -d 'URL of the API' -r
complete -c orders -n "__fish_orders_using_subcommand trace" -l token-file -d 'File with the token to send; ORDERS_TOKEN may hold the token itself' -r -F
complete -c orders -n "__fish_orders_using_subcommand trace" -l output -d 'Print data as a table or as JSON' -r -f -a "table\t'Columns for people; plain when piped'
json\t'One JSON document, also when the command fails'"
complete -c orders -n "__fish_orders_using_subcommand trace" -l log-format -d 'Write diagnostics as text or as JSON' -r -f -a "text\t'TIME LEVEL message field=value'
json\t'One JSON object a line'"
complete -c orders -n "__fish_orders_using_subcommand trace" -l env-file -d 'File with variables [default: .env, where there is one]' -r -F
complete -c orders -n "__fish_orders_using_subcommand trace" -l scan -d 'Read the whole topic, which takes a second for each 100,000 records'
complete -c orders -n "__fish_orders_using_subcommand trace" -s q -l quiet -d 'Print only warnings and errors on stderr'
complete -c orders -n "__fish_orders_using_subcommand trace" -s v -l verbose -d 'Print more on stderr; -vv prints everything'
complete -c orders -n "__fish_orders_using_subcommand trace" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orders -n "__fish_orders_using_subcommand verify" -l since -d 'Only records from then on: 2026-11-27T10:00:00Z, 2026-11-27, -15m or -1h' -r
complete -c orders -n "__fish_orders_using_subcommand verify" -l wait -d 'How long to wait for database and log [default: one attempt]' -r
complete -c orders -n "__fish_orders_using_subcommand verify" -l brokers -d 'Kafka brokers, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand verify" -l topic -d 'Topic of the orders' -r
complete -c orders -n "__fish_orders_using_subcommand verify" -l lookup-topic -d 'Topic of the lookups' -r
complete -c orders -n "__fish_orders_using_subcommand verify" -l found-topic -d 'Topic of the answers to lookups' -r
complete -c orders -n "__fish_orders_using_subcommand verify" -l kafka-properties -d 'Properties of the Kafka client, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand verify" -s X -d 'Property of the Kafka client, repeatable; replaces that of KAFKA_PROPERTIES' -r
complete -c orders -n "__fish_orders_using_subcommand verify" -l db-url -d 'Database, as postgresql://USER@HOST:PORT/DATABASE or sqlite:FILE' -r
complete -c orders -n "__fish_orders_using_subcommand verify" -l data-dir -d 'Folder of the embedded engines' -r -F
complete -c orders -n "__fish_orders_using_subcommand verify" -l output -d 'Print data as a table or as JSON' -r -f -a "table\t'Columns for people; plain when piped'
json\t'One JSON document, also when the command fails'"
complete -c orders -n "__fish_orders_using_subcommand verify" -l log-format -d 'Write diagnostics as text or as JSON' -r -f -a "text\t'TIME LEVEL message field=value'
json\t'One JSON object a line'"
complete -c orders -n "__fish_orders_using_subcommand verify" -l env-file -d 'File with variables [default: .env, where there is one]' -r -F
complete -c orders -n "__fish_orders_using_subcommand verify" -s q -l quiet -d 'Print only warnings and errors on stderr'
complete -c orders -n "__fish_orders_using_subcommand verify" -s v -l verbose -d 'Print more on stderr; -vv prints everything'
complete -c orders -n "__fish_orders_using_subcommand verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orders -n "__fish_orders_using_subcommand export" -l to -d 'File for the orders; `-` is stdout' -r -F
complete -c orders -n "__fish_orders_using_subcommand export" -l dead-letters -d 'File for dead letters: records that are not orders, with offset and reason' -r -F
complete -c orders -n "__fish_orders_using_subcommand export" -l wait -d 'How long to wait for database and log, and for the store to catch up' -r
complete -c orders -n "__fish_orders_using_subcommand export" -l brokers -d 'Kafka brokers, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand export" -l topic -d 'Topic of the orders' -r
complete -c orders -n "__fish_orders_using_subcommand export" -l lookup-topic -d 'Topic of the lookups' -r
complete -c orders -n "__fish_orders_using_subcommand export" -l found-topic -d 'Topic of the answers to lookups' -r
complete -c orders -n "__fish_orders_using_subcommand export" -l kafka-properties -d 'Properties of the Kafka client, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand export" -s X -d 'Property of the Kafka client, repeatable; replaces that of KAFKA_PROPERTIES' -r
complete -c orders -n "__fish_orders_using_subcommand export" -l db-url -d 'Database, as postgresql://USER@HOST:PORT/DATABASE or sqlite:FILE' -r
complete -c orders -n "__fish_orders_using_subcommand export" -l data-dir -d 'Folder of the embedded engines' -r -F
complete -c orders -n "__fish_orders_using_subcommand export" -l output -d 'Print data as a table or as JSON' -r -f -a "table\t'Columns for people; plain when piped'
json\t'One JSON document, also when the command fails'"
complete -c orders -n "__fish_orders_using_subcommand export" -l log-format -d 'Write diagnostics as text or as JSON' -r -f -a "text\t'TIME LEVEL message field=value'
json\t'One JSON object a line'"
complete -c orders -n "__fish_orders_using_subcommand export" -l env-file -d 'File with variables [default: .env, where there is one]' -r -F
complete -c orders -n "__fish_orders_using_subcommand export" -l partial -d 'Export what is stored, without checking that it is complete'
complete -c orders -n "__fish_orders_using_subcommand export" -s q -l quiet -d 'Print only warnings and errors on stderr'
complete -c orders -n "__fish_orders_using_subcommand export" -s v -l verbose -d 'Print more on stderr; -vv prints everything'
complete -c orders -n "__fish_orders_using_subcommand export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orders -n "__fish_orders_using_subcommand config" -l brokers -d 'Kafka brokers, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand config" -l topic -d 'Topic of the orders' -r
complete -c orders -n "__fish_orders_using_subcommand config" -l lookup-topic -d 'Topic of the lookups' -r
complete -c orders -n "__fish_orders_using_subcommand config" -l found-topic -d 'Topic of the answers to lookups' -r
complete -c orders -n "__fish_orders_using_subcommand config" -l kafka-properties -d 'Properties of the Kafka client, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand config" -s X -d 'Property of the Kafka client, repeatable; replaces that of KAFKA_PROPERTIES' -r
complete -c orders -n "__fish_orders_using_subcommand config" -l db-url -d 'Database, as postgresql://USER@HOST:PORT/DATABASE or sqlite:FILE' -r
complete -c orders -n "__fish_orders_using_subcommand config" -l data-dir -d 'Folder of the embedded engines' -r -F
complete -c orders -n "__fish_orders_using_subcommand config" -l group -d 'Consumer group' -r
complete -c orders -n "__fish_orders_using_subcommand config" -l lookup-group -d 'Consumer group of the lookups, one for each set of topics' -r
complete -c orders -n "__fish_orders_using_subcommand config" -l http-addr -d 'Address of the public API; port 0 picks one' -r
complete -c orders -n "__fish_orders_using_subcommand config" -l keep-alive-s -d 'How long an idle connection is kept' -r
complete -c orders -n "__fish_orders_using_subcommand config" -l max-connections -d 'How many connections there may be' -r
complete -c orders -n "__fish_orders_using_subcommand config" -l lookup-wait-ms -d 'How long a GET waits for its lookup before it answers 202' -r
complete -c orders -n "__fish_orders_using_subcommand config" -l drain-delay -d 'How long requests are still served after the first signal, while /readyz returns 503' -r
complete -c orders -n "__fish_orders_using_subcommand config" -l admin-addr -d 'Address of /livez, /readyz and /metrics; port 0 picks one' -r
complete -c orders -n "__fish_orders_using_subcommand config" -l auth-tokens-file -d 'File of the tokens that requests need, made by `orders token`; it is read again when it changes' -r -F
complete -c orders -n "__fish_orders_using_subcommand config" -l allow-unauthenticated -d 'Listen where other machines reach it without tokens: a proxy authenticates every request' -r
complete -c orders -n "__fish_orders_using_subcommand config" -l allowed-hosts -d 'Names by which clients call a port on loopback, besides localhost, separated by commas' -r
complete -c orders -n "__fish_orders_using_subcommand config" -l cache-load-limit -d 'How many of the newest orders are loaded at start; 0: none' -r
complete -c orders -n "__fish_orders_using_subcommand config" -l cache-ttl-seconds -d 'How long an order stays' -r
complete -c orders -n "__fish_orders_using_subcommand config" -l cache-max-bytes -d 'How much memory the orders may use, such as 50331648 or 48MiB' -r
complete -c orders -n "__fish_orders_using_subcommand config" -l api-url -d 'URL of the API' -r
complete -c orders -n "__fish_orders_using_subcommand config" -l token-file -d 'File with the token to send; ORDERS_TOKEN may hold the token itself' -r -F
complete -c orders -n "__fish_orders_using_subcommand config" -l output -d 'Print data as a table or as JSON' -r -f -a "table\t'Columns for people; plain when piped'
json\t'One JSON document, also when the command fails'"
complete -c orders -n "__fish_orders_using_subcommand config" -l log-format -d 'Write diagnostics as text or as JSON' -r -f -a "text\t'TIME LEVEL message field=value'
json\t'One JSON object a line'"
complete -c orders -n "__fish_orders_using_subcommand config" -l env-file -d 'File with variables [default: .env, where there is one]' -r -F
complete -c orders -n "__fish_orders_using_subcommand config" -l running -d 'Show the settings of the running services of this user on this machine'
complete -c orders -n "__fish_orders_using_subcommand config" -s q -l quiet -d 'Print only warnings and errors on stderr'
complete -c orders -n "__fish_orders_using_subcommand config" -s v -l verbose -d 'Print more on stderr; -vv prints everything'
complete -c orders -n "__fish_orders_using_subcommand config" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orders -n "__fish_orders_using_subcommand token" -l scope -d 'What it allows, repeatable or separated by commas' -r -f -a "orders:write\t'POST /orders'
orders:read\t'GET /api/order/UID'
operator\t'/metrics and the details of /readyz'"
complete -c orders -n "__fish_orders_using_subcommand token" -l output -d 'Print data as a table or as JSON' -r -f -a "table\t'Columns for people; plain when piped'
json\t'One JSON document, also when the command fails'"
complete -c orders -n "__fish_orders_using_subcommand token" -l log-format -d 'Write diagnostics as text or as JSON' -r -f -a "text\t'TIME LEVEL message field=value'
json\t'One JSON object a line'"
complete -c orders -n "__fish_orders_using_subcommand token" -l env-file -d 'File with variables [default: .env, where there is one]' -r -F
complete -c orders -n "__fish_orders_using_subcommand token" -s q -l quiet -d 'Print only warnings and errors on stderr'
complete -c orders -n "__fish_orders_using_subcommand token" -s v -l verbose -d 'Print more on stderr; -vv prints everything'
complete -c orders -n "__fish_orders_using_subcommand token" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c orders -n "__fish_orders_using_subcommand completions" -l output -d 'Print data as a table or as JSON' -r -f -a "table\t'Columns for people; plain when piped'
json\t'One JSON document, also when the command fails'"
complete -c orders -n "__fish_orders_using_subcommand completions" -l log-format -d 'Write diagnostics as text or as JSON' -r -f -a "text\t'TIME LEVEL message field=value'
json\t'One JSON object a line'"
complete -c orders -n "__fish_orders_using_subcommand completions" -l env-file -d 'File with variables [default: .env, where there is one]' -r -F
complete -c orders -n "__fish_orders_using_subcommand completions" -s q -l quiet -d 'Print only warnings and errors on stderr'
complete -c orders -n "__fish_orders_using_subcommand completions" -s v -l verbose -d 'Print more on stderr; -vv prints everything'
complete -c orders -n "__fish_orders_using_subcommand completions" -s h -l help -d 'Print help'
complete -c orders -n "__fish_orders_using_subcommand version" -l output -d 'Print data as a table or as JSON' -r -f -a "table\t'Columns for people; plain when piped'
json\t'One JSON document, also when the command fails'"
complete -c orders -n "__fish_orders_using_subcommand version" -l log-format -d 'Write diagnostics as text or as JSON' -r -f -a "text\t'TIME LEVEL message field=value'
json\t'One JSON object a line'"
complete -c orders -n "__fish_orders_using_subcommand version" -l env-file -d 'File with variables [default: .env, where there is one]' -r -F
complete -c orders -n "__fish_orders_using_subcommand version" -s q -l quiet -d 'Print only warnings and errors on stderr'
complete -c orders -n "__fish_orders_using_subcommand version" -s v -l verbose -d 'Print more on stderr; -vv prints everything'
complete -c orders -n "__fish_orders_using_subcommand version" -s h -l help -d 'Print help'
complete -c orders -n "__fish_orders_using_subcommand help; and not __fish_seen_subcommand_from up migrate create-topics serve-api consume send get list status lag gaps replay dead-letters erase trace verify export config token completions version help" -f -a "up" -d 'Run everything in one process; no other software is required'
complete -c orders -n "__fish_orders_using_subcommand help; and not __fish_seen_subcommand_from up migrate create-topics serve-api consume send get list status lag gaps replay dead-letters erase trace verify export config token completions version help" -f -a "migrate" -d 'Create or update the tables of the database'
complete -c orders -n "__fish_orders_using_subcommand help; and not __fish_seen_subcommand_from up migrate create-topics serve-api consume send get list status lag gaps replay dead-letters erase trace verify export config token completions version help" -f -a "create-topics" -d 'Create the topics, or check existing ones'
complete -c orders -n "__fish_orders_using_subcommand help; and not __fish_seen_subcommand_from up migrate create-topics serve-api consume send get list status lag gaps replay dead-letters erase trace verify export config token completions version help" -f -a "serve-api" -d 'Serve the HTTP API: accept orders and return them'
complete -c orders -n "__fish_orders_using_subcommand help; and not __fish_seen_subcommand_from up migrate create-topics serve-api consume send get list status lag gaps replay dead-letters erase trace verify export config token completions version help" -f -a "consume" -d 'Store orders from the log in the database, and answer lookups'
complete -c orders -n "__fish_orders_using_subcommand help; and not __fish_seen_subcommand_from up migrate create-topics serve-api consume send get list status lag gaps replay dead-letters erase trace verify export config token completions version help" -f -a "send" -d 'Post orders from files or stdin to the API'
complete -c orders -n "__fish_orders_using_subcommand help; and not __fish_seen_subcommand_from up migrate create-topics serve-api consume send get list status lag gaps replay dead-letters erase trace verify export config token completions version help" -f -a "get" -d 'Get orders by their uid from the API'
complete -c orders -n "__fish_orders_using_subcommand help; and not __fish_seen_subcommand_from up migrate create-topics serve-api consume send get list status lag gaps replay dead-letters erase trace verify export config token completions version help" -f -a "list" -d 'List the newest orders, or those of a customer'
complete -c orders -n "__fish_orders_using_subcommand help; and not __fish_seen_subcommand_from up migrate create-topics serve-api consume send get list status lag gaps replay dead-letters erase trace verify export config token completions version help" -f -a "status" -d 'Show whether every part is healthy, and what repairs it'
complete -c orders -n "__fish_orders_using_subcommand help; and not __fish_seen_subcommand_from up migrate create-topics serve-api consume send get list status lag gaps replay dead-letters erase trace verify export config token completions version help" -f -a "lag" -d 'Show how many records wait in each partition, and who has it'
complete -c orders -n "__fish_orders_using_subcommand help; and not __fish_seen_subcommand_from up migrate create-topics serve-api consume send get list status lag gaps replay dead-letters erase trace verify export config token completions version help" -f -a "gaps" -d 'Records that were deleted before they were read'
complete -c orders -n "__fish_orders_using_subcommand help; and not __fish_seen_subcommand_from up migrate create-topics serve-api consume send get list status lag gaps replay dead-letters erase trace verify export config token completions version help" -f -a "replay" -d 'Apply records of the log again, which is harmless'
complete -c orders -n "__fish_orders_using_subcommand help; and not __fish_seen_subcommand_from up migrate create-topics serve-api consume send get list status lag gaps replay dead-letters erase trace verify export config token completions version help" -f -a "dead-letters" -d 'See what was refused, and why; repair it'
complete -c orders -n "__fish_orders_using_subcommand help; and not __fish_seen_subcommand_from up migrate create-topics serve-api consume send get list status lag gaps replay dead-letters erase trace verify export config token completions version help" -f -a "erase" -d 'Erase an order for good: a customer wants to be forgotten'
complete -c orders -n "__fish_orders_using_subcommand help; and not __fish_seen_subcommand_from up migrate create-topics serve-api consume send get list status lag gaps replay dead-letters erase trace verify export config token completions version help" -f -a "trace" -d 'Show where an order is, from the log to the cache'
complete -c orders -n "__fish_orders_using_subcommand help; and not __fish_seen_subcommand_from up migrate create-topics serve-api consume send get list status lag gaps replay dead-letters erase trace verify export config token completions version help" -f -a "verify" -d 'Check that no record of the log is lost'
complete -c orders -n "__fish_orders_using_subcommand help; and not __fish_seen_subcommand_from up migrate create-topics serve-api consume send get list status lag gaps replay dead-letters erase trace verify export config token completions version help" -f -a "export" -d 'Write every stored order as JSON, one a line'
complete -c orders -n "__fish_orders_using_subcommand help; and not __fish_seen_subcommand_from up migrate create-topics serve-api consume send get list status lag gaps replay dead-letters erase trace verify export config token completions version help" -f -a "config" -d 'Show every setting, its value and where it comes from'
complete -c orders -n "__fish_orders_using_subcommand help; and not __fish_seen_subcommand_from up migrate create-topics serve-api consume send get list status lag gaps replay dead-letters erase trace verify export config token completions version help" -f -a "token" -d 'Make a token that lets a client in'
complete -c orders -n "__fish_orders_using_subcommand help; and not __fish_seen_subcommand_from up migrate create-topics serve-api consume send get list status lag gaps replay dead-letters erase trace verify export config token completions version help" -f -a "completions" -d 'Print the completion script of a shell'
complete -c orders -n "__fish_orders_using_subcommand help; and not __fish_seen_subcommand_from up migrate create-topics serve-api consume send get list status lag gaps replay dead-letters erase trace verify export config token completions version help" -f -a "version" -d 'Print the version'
complete -c orders -n "__fish_orders_using_subcommand help; and not __fish_seen_subcommand_from up migrate create-topics serve-api consume send get list status lag gaps replay dead-letters erase trace verify export config token completions version help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c orders -n "__fish_orders_using_subcommand help; and __fish_seen_subcommand_from gaps" -f -a "list" -d 'List the gaps (the default)'
complete -c orders -n "__fish_orders_using_subcommand help; and __fish_seen_subcommand_from gaps" -f -a "accept" -d 'Let the consumer go on after a gap'
complete -c orders -n "__fish_orders_using_subcommand help; and __fish_seen_subcommand_from dead-letters" -f -a "list" -d 'List them by reason (the default), or each'
complete -c orders -n "__fish_orders_using_subcommand help; and __fish_seen_subcommand_from dead-letters" -f -a "show" -d 'Print everything known of one'
complete -c orders -n "__fish_orders_using_subcommand help; and __fish_seen_subcommand_from dead-letters" -f -a "retry" -d 'Decode them again, or mended orders in their place, and store them'
complete -c orders -n "__fish_orders_using_subcommand help; and __fish_seen_subcommand_from dead-letters" -f -a "edit" -d 'Mend one in an editor, and store it'
complete -c orders -n "__fish_orders_using_subcommand help; and __fish_seen_subcommand_from dead-letters" -f -a "discard" -d 'Give them up without storing anything'
complete -c orders -n "__fish_orders_using_subcommand help; and __fish_seen_subcommand_from dead-letters" -f -a "prune" -d 'Delete resolved ones'
