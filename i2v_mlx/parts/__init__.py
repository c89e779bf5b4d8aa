"""The networks around a family's UNet, its sampler and its noise."""
