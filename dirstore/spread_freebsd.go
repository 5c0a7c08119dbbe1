package dirstore

// Spread does nothing: UFS spreads directories by itself (ffs_alloc.c,
// ffs_dirpref), and ZFS has no places to choose from.
func Spread(string) {}
