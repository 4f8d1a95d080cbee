"""From profiles to OpenTelemetry's profiles signal (OTLP, v1development, schema 1.10 and later)."""
