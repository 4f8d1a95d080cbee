"""Kernels of distributions to run the tests on: `vagrant/run` boots them here, the Vagrantfile makes machines."""
