#!/bin/sh
# secrets.sh FOLDER: makes the secrets of an installation, one file for each value, named as in
# manifests/components/secrets. What is there already is kept: a database does not learn of a new
# password by itself.
set -eu
umask 077
cd "${1:?usage: secrets.sh FOLDER}"

# Letters and digits alone: they go into URLs.
random() {
    od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'
}

# keep NAME/KEY VALUE
keep() {
    [ ! -e "$1" ] || return 0
    mkdir -p "${1%/*}"
    printf %s "$2" > "$1.new"
    mv "$1.new" "$1"
}

keep auth-secret/JWT_SECRET "$(random 32)"
keep auth-secret/MYSQL_PASSWORD "$(random 16)"
keep mysql-secret/MYSQL_ROOT_PASSWORD "$(random 16)"
keep mongodb-secret/MONGODB_ROOT_PASSWORD "$(random 16)"
keep mongodb-secret/MONGODB_KEYFILE "$(random 256)"
keep rabbitmq-secret/ADMIN_PASSWORD "$(random 16)"
keep rabbitmq-secret/ERLANG_COOKIE "$(random 32)"
# The full name, for who asks from another namespace.
keep rabbitmq-secret/MONITOR_URL "http://monitor:$(random 16)@rabbitmq.mp3converter.svc.cluster.local:15672/"
for service in gateway converter notification; do
    keep "$service-secret/AMQP_URL" "amqp://$service:$(random 16)@rabbitmq:5672/%2f"
    keep "$service-secret/MONGODB_URI" \
        "mongodb://$service:$(random 16)@mongodb:27017/?replicaSet=rs0&authSource=admin"
done
