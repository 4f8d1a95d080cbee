"""Our .proto files and the code generated from them (`python -m exporters.proto.generate`)."""
