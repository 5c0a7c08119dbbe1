package e2e

// entry is mode, owner and name in a line of GNU tar: MODE OWNER/GROUP SIZE DATE TIME NAME …
func entry(f []string) string { return f[0] + " " + f[1] + " " + f[5] }
