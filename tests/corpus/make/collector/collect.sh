# An application sends to a Collector, the Collector to Waybill.
"$OTELCOL" --config config.yaml 2> otelcol.log &
until curl -s -o /dev/null 127.0.0.1:4318; do sleep 0.2; done
OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 OTEL_EXPORTER_OTLP_HEADERS= .venv/bin/python orders.py
kill %1
wait
