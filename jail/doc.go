// Package jail makes, changes, finds and removes FreeBSD jails by their system
// calls: jail_set(2), jail_get(2), jail_attach(2), jail_remove(2). It runs no
// program and keeps no state.
//
// # Words
//
// A jail has an [ID] (jid) and a name, both unique on the host while it lives,
// and parameters, each a name with a value, listed in jail(8) and by
//
//	sysctl -d security.jail.param
//
// A [Param] is one of them with a value to set. Parameters of a file system or
// another module (allow.mount.zfs, linux.osname) exist while that is loaded;
// [Supports] tells.
//
// A jail that was removed is dying until the last process, socket and file that
// belongs to it is gone. Until then its root file system is busy, though its name
// is free again. [ID.Remove] waits for that.
//
// # One story
//
//	id, err := jail.Create(
//		jail.String("name", "web"),
//		jail.String("path", "/jails/web"),
//		jail.Flag("persist"),
//		jail.Int("vnet", jail.New),
//	)
//	cmd := exec.Cmd{Path: "/bin/sh", SysProcAttr: &syscall.SysProcAttr{Jail: int(id)}}
//	...
//	err = id.Remove(ctx)
//
// # Names
//
// A dot separates parent and child: creating "a.b" makes jail "b" inside jail
// "a". A name of digits alone is refused unless it is the jid. [CheckName] knows
// the rules.
//
// On other systems every call returns [errors.ErrUnsupported].
package jail
