# Imports the images that corpus/ begins with. Arguments: the engine's program, the directory of base.tar.
set -eu
engine=$1 dir=$2
path='ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
"$engine" import -c 'CMD ["sh"]' -c "$path" - busybox <"$dir/base.tar" >/dev/null
"$engine" import -c "$path" -c 'ENV FROM_BASE=1' -c 'USER guest' -c 'WORKDIR /home/guest' \
    -c 'LABEL base=yes' -c 'EXPOSE 80/tcp' -c 'VOLUME /vol' -c 'ENTRYPOINT ["/entry"]' -c 'CMD ["kept"]' -c 'STOPSIGNAL SIGINT' \
    -c 'HEALTHCHECK --interval=5s CMD true' - configured <"$dir/base.tar" >/dev/null
"$engine" import -c "$path" -c 'ONBUILD RUN echo triggered >/triggered' -c 'ONBUILD COPY app /app' \
    -c 'ONBUILD ENV T=1' - triggers <"$dir/base.tar" >/dev/null
