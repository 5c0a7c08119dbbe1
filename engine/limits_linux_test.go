package engine_test

const (
	oomKnown   = true // the kernel counts what it kills
	cpuSettles = 0
)
