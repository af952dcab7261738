"""The demo estate: shop, order service, payment, stock, ERP, billing and shipping as real processes on real streams. See docs/demo.md."""
