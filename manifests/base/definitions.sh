# Writes the broker's users and their rights as RabbitMQ's definitions (JSON) to stdout.
#
# Names and passwords are those in the services' own URLs, so that each stands in one place:
#   GATEWAY_URL, CONVERTER_URL, NOTIFICATION_URL   amqp://name:password@…
#   MONITOR_URL                                    http://name:password@…, may look at everything
#   ADMIN_PASSWORD                                 of `admin`, for people
#
# The queues are called video and mp3. All publish through the default exchange, `amq.default`. Who makes a queue that has dead
# letters must be allowed to read it, whether it does or not.
set -eu

# plain TEXT: neither JSON nor URLs have a meaning of their own for what is in it.
plain() {
    case $1 in
    '' | *[!A-Za-z0-9_.-]*) echo "a name or password is missing, or has more than letters, digits and _ . -" >&2; exit 1 ;;
    esac
}

# split URL: sets name and password.
split() {
    credentials=${1#*://}
    credentials=${credentials%%@*}
    case $credentials in *:*) ;; *) credentials=: ;; esac
    name=${credentials%%:*} password=${credentials#*:}
}

users= permissions= comma=
# user NAME PASSWORD TAG CONFIGURE WRITE READ
user() {
    plain "$1"
    plain "$2"
    users="$users$comma
    {\"name\": \"$1\", \"password\": \"$2\", \"tags\": \"$3\"}"
    permissions="$permissions$comma
    {\"user\": \"$1\", \"vhost\": \"/\", \"configure\": \"$4\", \"write\": \"$5\", \"read\": \"$6\"}"
    comma=,
}

publish='^amq\\.default$'
split "$GATEWAY_URL"
user "$name" "$password" "" '^(video|mp3)(\\.dead)?$' "$publish" '^(video|mp3)$'
split "$CONVERTER_URL"
user "$name" "$password" "" \
    '^(video(\\.dead|\\.retry\\.[0-9]+)?|mp3(\\.dead)?)$' "$publish" '^(video(\\.retry\\.[0-9]+)?|mp3)$'
split "$NOTIFICATION_URL"
user "$name" "$password" "" '^mp3(\\.dead|\\.retry\\.[0-9]+)?$' "$publish" '^mp3(\\.retry\\.[0-9]+)?$'
split "$MONITOR_URL"
user "$name" "$password" monitoring '^$' '^$' '^$'
user admin "$ADMIN_PASSWORD" administrator '.*' '.*' '.*'

cat <<JSON
{
  "vhosts": [{"name": "/"}],
  "users": [$users
  ],
  "permissions": [$permissions
  ]
}
JSON
