# syntax=docker/dockerfile:1
# The service as one binary on a small base. Build: docker build -t postback .
# Alone, on the embedded SQLite file:  docker run -p 8080:8080 -v postback-data:/data postback
# Several instances on PostgreSQL and RabbitMQ: docker-compose.yml.

ARG RUST_VERSION=1.95
FROM rust:${RUST_VERSION}-slim-bookworm AS build
WORKDIR /src
COPY . .
# The registry and the compiled dependencies stay in the builder's cache, so that a change of our code compiles our code only.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --release --locked --bin postback \
    && install -D target/release/postback /out/postback

# The same Debian as the builder, for its libc. No package is added: SQLite is inside the binary, and so are the root certificates.
FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /data postback \
    && install -d -o postback -g postback -m 700 /data
COPY --from=build /out/postback /usr/local/bin/postback

USER postback
# Files that settings name without a folder are made here: the SQLite file and, beside it, its key. Losing the key loses the secrets.
WORKDIR /data
VOLUME /data
ENV POSTBACK_SERVER_LISTEN=0.0.0.0:8080
EXPOSE 8080
# Alive means that the process answers. Whether it can take postbacks is /readyz; restarting it would mend nothing there.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["postback", "healthcheck"]
ENTRYPOINT ["postback"]
CMD ["serve"]
