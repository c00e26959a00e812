"""Tests of the cloud role and the broker, with a real RabbitMQ."""
