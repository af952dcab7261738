# What a script that empties a dead-letter queue by itself reports.
curl --fail-with-body -sS "$WAYBILL/ingest/v1/dead-letters" -H "Authorization: Bearer $WAYBILL_AGENT_KEY" -H "Content-Type: application/json" -d '[
  {"id": "erp.orders.dlq/1", "broker": "redis", "family": "redis-streams", "queue": "erp.orders.dlq", "origin": "erp.orders",
   "system": "erp", "reason": "failed after 3 attempts", "reason_code": "delivery_limit", "attempts": 3,
   "message_id": "curl-order-message-4712", "failed_at": "'"$(date -u +%Y-%m-%dT%H:%M:%SZ)"'",
   "error": {"type": "ErpTimeout", "message": "the ERP did not answer in 30 s"},
   "headers": [{"name": "tenant", "type": "string", "value": "de"}],
   "content_type": "application/json", "body": "{\"order_no\": \"4712\"}"}]'
