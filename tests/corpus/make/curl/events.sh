# A send and a failed processing as an array, the retry in an envelope with its batch id, two more hops as gzipped NDJSON.
now() { date -u +%Y-%m-%dT%H:%M:%SZ; }
send() { curl --fail-with-body -sS "$WAYBILL/ingest/v1/events" -H "Authorization: Bearer $WAYBILL_AGENT_KEY" "$@"; }

send -H "Content-Type: application/json" -d '[
  {"id": "shop-1", "system": "shop", "operation": "send", "occurred_at": "'"$(now)"'", "destination": "orders",
   "message_id": "curl-order-message-4711", "keys": {"order_no": "4711"},
   "payload": {"content_type": "application/json", "body": "{\"order_no\": \"4711\"}", "headers": {"tenant": "de"}}},
  {"id": "erp-1", "system": "erp", "operation": "process", "occurred_at": "'"$(now)"'", "destination": "orders",
   "message_id": "curl-order-message-4711", "outcome": "error", "duration_ms": 250,
   "error": {"type": "ErpTimeout", "message": "the ERP did not answer in 250 ms", "stack": "at erp.py:7"}}]'

sleep 1 # the retry comes later than the failure: the later one says where the message stands
send -H "Content-Type: application/json" -d '{"batch_id": "erp-retry-1", "events": [
  {"id": "erp-2", "system": "erp", "operation": "process", "occurred_at": "'"$(now)"'", "destination": "orders",
   "message_id": "curl-order-message-4711", "duration_ms": 41.5}]}'

printf '%s\n%s\n' \
  '{"id": "erp-3", "system": "erp", "operation": "send", "occurred_at": "'"$(now)"'", "destination": "invoices", "message_id": "curl-invoice-message-R-9", "correlation_id": "curl-order-message-4711", "keys": {"order_no": "4711", "invoice_no": "R-9"}}' \
  '{"id": "billing-1", "system": "billing", "operation": "process", "occurred_at": "'"$(now)"'", "destination": "invoices", "message_id": "curl-invoice-message-R-9"}' |
  gzip | send -H "Content-Type: application/x-ndjson" -H "Content-Encoding: gzip" --data-binary @-
