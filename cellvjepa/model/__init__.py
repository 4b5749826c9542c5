"""The network: tokens of a clip, masks over them, encoder, predictor and their exponential moving average."""
