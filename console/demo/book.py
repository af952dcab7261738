"""What the demo undoes when billing refuses an order for good: its payment and its reservation."""

from agents.demo.names import CONNECTION, PAYMENTS, REFUNDS, RELEASES, RESERVATIONS

BOOK = f"""
steps:
  - name: payment
    title: payment taken
    happened: {{system: payment, destination: {PAYMENTS}}}
    undo:
      title: refund {{amount}} of {{order}}
      connection: {CONNECTION}
      message: {{destination: {REFUNDS}}}
      headers: {{message-id: "{{idempotency_key}}", order_no: "{{order}}"}}
      body: {{order_no: "{{order}}", payment_no: "{{payment}}", amount: "{{amount}}"}}
      inputs:
        order: {{key: order_no}}
        payment: {{attribute: payment.no}}
        amount: {{from: message, json: "$.amount"}}
      repeatable: true
      proof: {{system: payment, destination: {REFUNDS}}}
      proof_within_s: 120
  - name: stock
    title: articles reserved
    happened: {{system: stock, destination: {RESERVATIONS}}}
    undo:
      title: release the articles of {{order}}
      connection: {CONNECTION}
      message: {{destination: {RELEASES}}}
      headers: {{message-id: "{{idempotency_key}}", order_no: "{{order}}"}}
      body: {{order_no: "{{order}}"}}
      inputs: {{order: {{key: order_no}}}}
      repeatable: true
      proof: {{system: stock, destination: {RELEASES}}}
      proof_within_s: 120
"""
