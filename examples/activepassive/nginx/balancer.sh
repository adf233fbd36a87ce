#!/bin/sh
# NGINX and its agent share NGINX's configuration and process id, so they share a container. A container that is started again
# still has both. The process id is out of date, so remove it. The configuration is good until the agent replaces it.
set -e
follow="agent -zookeeper $1 -config /etc/agent/nginx.conf.toml"
rm -f /run/nginx.pid
grep -q '^# Rendered' /etc/nginx/nginx.conf || $follow -onetime
nginx
exec $follow
