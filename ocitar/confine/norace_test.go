//go:build !race

package confine

const keepsCapabilities = false
