package e2e

// entry is mode, owner and name in a line of bsdtar, which is that of ls(1):
// MODE LINKS OWNER GROUP SIZE MONTH DAY TIME NAME …
func entry(f []string) string { return f[0] + " " + f[2] + "/" + f[3] + " " + f[8] }
