"""The refiner (T3): prompt, strict parse of answers, daily budget and policy."""
