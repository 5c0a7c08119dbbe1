// Package zfs makes, clones, snapshots, lists, compares and destroys ZFS
// datasets.
//
// What a container needs to start and stop (create, clone, snapshot, destroy,
// one look at a dataset) goes by ioctl(2) to /dev/zfs where the kernel speaks
// version 15 of that interface (OpenZFS 2.0 to 2.2 and later): five times faster
// than a program that does the same. Everything else, and all of it on other
// kernels, runs zfs(8).
//
// # Words
//
// A dataset is a file system, a volume or a snapshot; its name starts with that
// of its pool, and a snapshot's has an @. A clone is a file system that began as
// a snapshot, its origin, and keeps that from being destroyed.
//
// # Rules
//
// Nothing is ever promoted, and nothing is destroyed with its clones: -R does not
// occur here. No dataset is mounted by being made, and nothing here mounts one: that
// is nmount(2), in package freebsd/mount, which mounts it where it is wanted
// (mount.Entry{Type: "zfs", From: dataset, Path: dir}). Put it below a parent with
// mountpoint=none, so that nobody else mounts it. A dataset with properties is not
// made atomically: a crash can leave it without them, so put what identifies it into
// its name.
//
// Errors are [*Error]. fs.ErrExist and fs.ErrNotExist hold for a dataset that is
// there already or missing, syscall.EBUSY for one that is mounted or that others
// depend on.
//
// # One story
//
//	var z zfs.ZFS // ready to use
//	err := z.Clone(ctx, "tank/images/alpine@frozen", "tank/containers/c1", nil)
//	err = mount.Mount(mount.Entry{Type: "zfs", From: "tank/containers/c1", Path: "/jails/c1"})
//	// use it, unmount it
//	err = z.Destroy(ctx, "tank/containers/c1")
package zfs
