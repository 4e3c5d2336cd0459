# The embedded object store of the local cluster: versitygw, built from its Go module, static. Elsewhere the chart uses
# the project's published image; the path of the program is the same.
FROM scratch
COPY versitygw /usr/local/bin/versitygw
USER 65532:65532
EXPOSE 7070
ENTRYPOINT ["/usr/local/bin/versitygw"]
