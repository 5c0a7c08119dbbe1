package engine_test

import "time"

const (
	oomKnown   = false
	cpuSettles = 3 * time.Second // the kernel throttles by an average
)
