package ocitar

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestACLText(t *testing.T) {
	for _, c := range []struct{ list, text, want string }{
		{listAccess, "user::rw-,user:www:r--:80,group::r--,group:20:r-x,mask::r-x,other::---", "user::rw-,user:80:r--,group::r--,group:20:r-x,mask::r-x,other::---"},
		{listAccess, "other::r--\nmask:rwx\ngroup::r-x # effective\nuser:1000:rwx\nu::rwx\n", "user::rwx,user:1000:rwx,group::r-x,mask::rwx,other::r--"},
		{listDefault, "user::rwx,user:9:---,user:8:r--,g::r-x,m::r-x,o::r-x", "user::rwx,user:8:r--,user:9:---,group::r-x,mask::r-x,other::r-x"},
		{listNFSv4, "owner@:rw-p--aARWcCos:-------:allow,user:www:rwx-----------:fd-----:deny:80,group@:r::audit,everyone@:x:fdinSFI:alarm",
			"owner@:rw-p--aARWcCos:-------:allow,user:80:rwx-----------:fd-----:deny,group@:r-------------:-------:audit,everyone@:--x-----------:fdinSFI:alarm"},
		{listNFSv4, "group:7:rwxpDdaARWcCos:-------:allow", "group:7:rwxpDdaARWcCos:-------:allow"},
		{listAccess, "", ""},
	} {
		a, err := parseACL(c.list, c.text)
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		if got := a.text(c.list); got != c.want {
			t.Errorf("%q:\n%q, want\n%q", c.text, got, c.want)
		}
		again, err := parseACL(c.list, a.text(c.list))
		if err != nil || !reflect.DeepEqual(again, a) {
			t.Errorf("%q back: %+v, %v", c.text, again, err)
		}
	}
	for _, c := range []struct {
		list, text string
		err        error
	}{
		{listAccess, "user", ErrFormat}, {listAccess, "nobody::rwx", ErrFormat}, {listAccess, "user::rwz", ErrFormat},
		{listAccess, "user:1000:rwx:x", ErrFormat}, {listAccess, "user::r:1:2", ErrFormat}, {listAccess, "owner@:r::allow", ErrFormat},
		{listAccess, "user:www:r:4294967295", ErrFormat}, {listNFSv4, "user::r::allow", ErrFormat},
		{listNFSv4, "owner@:r::permit", ErrFormat}, {listNFSv4, "owner@:r:", ErrFormat}, {listNFSv4, "user::rwx", ErrFormat}, {listNFSv4, "owner@:r::", ErrFormat},
		{listAccess, strings.Repeat("user:1:r--,", maxACL+1), ErrLimit},
	} {
		if a, err := parseACL(c.list, c.text); !errors.Is(err, c.err) {
			t.Errorf("%.40q: %v, %v; want %v", c.text, a, err, c.err)
		}
	}
}

func TestACLKernelForms(t *testing.T) {
	a, err := parseACL(listAccess, "user::rw-,user:1000:rw-,group::r--,mask::rw-,other::---")
	if err != nil {
		t.Fatal(err)
	}
	// What setfacl(1) made of the same on Linux.
	want := "\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x02\x00\x06\x00\xe8\x03\x00\x00\x04\x00\x04\x00\xff\xff\xff\xff" +
		"\x10\x00\x06\x00\xff\xff\xff\xff\x20\x00\x00\x00\xff\xff\xff\xff"
	if a.attr() != want {
		t.Errorf("%q", a.attr())
	}
	if back, err := parseACLAttr(want); err != nil || !reflect.DeepEqual(back, a) {
		t.Errorf("%+v, %v", back, err)
	}
	for _, bad := range []string{"", "\x01\x00\x00\x00", want[:9], strings.Replace(want, "\x10\x00\x06", "\x40\x00\x06", 1), strings.Replace(want, "\x10\x00\x06", "\x10\x00\x08", 1)} {
		if _, err := parseACLAttr(bad); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	n, err := parseACL(listNFSv4, "owner@:rw-p--aARWcCos:-------:allow,user:80:rwx-----------:fd-----:deny")
	if err != nil {
		t.Fatal(err)
	}
	var k kernelACL
	if err := k.put(n); err != nil || !reflect.DeepEqual(k.get(), n) {
		t.Errorf("%+v, %v", k.get(), err)
	}
	if len(k) != 4088 { // sizeof(struct acl)
		t.Errorf("%d bytes", len(k))
	}
}

// TestTrivial: what FreeBSD's getfacl(1) shows for files that have a mode only, on ZFS.
func TestTrivial(t *testing.T) {
	for mode, want := range map[uint32]string{
		0o644: "owner@:rw-p--aARWcCos:-------:allow,group@:r-----a-R-c--s:-------:allow,everyone@:r-----a-R-c--s:-------:allow",
		0o700: "owner@:rwxp--aARWcCos:-------:allow,group@:------a-R-c--s:-------:allow,everyone@:------a-R-c--s:-------:allow",
		0o607: "owner@:--x-----------:-------:deny,group@:rwxp----------:-------:deny,owner@:rw-p--aARWcCos:-------:allow,group@:------a-R-c--s:-------:allow,everyone@:rwxp--aR-c--s:-------:allow",
	} {
		got := nfs4Trivial(mode)
		if mode == 0o607 { // the order counts: the owner's own permissions come before the group's denial
			want = "owner@:rw-p----------:-------:allow,owner@:--x-----------:-------:deny,group@:rwxp----------:-------:deny," +
				"owner@:rw-p--aARWcCos:-------:allow,group@:------a-R-c--s:-------:allow,everyone@:rwxp--a-R-c--s:-------:allow"
		}
		if got.text(listNFSv4) != want {
			t.Errorf("%o:\n%s\n%s", mode, got.text(listNFSv4), want)
		}
		if !got.trivial(listNFSv4, mode) || got.trivial(listNFSv4, mode^1) {
			t.Errorf("%o: trivial", mode)
		}
	}
	a, err := parseACL(listNFSv4, "owner@:rwx:fd:allow,user:80:r:fi:allow,everyone@:r::allow")
	if err != nil {
		t.Fatal(err)
	}
	if own, differs := a.withoutInheritance(); !differs || own.text(listNFSv4) != "owner@:rwx-----------:-------:allow,everyone@:r-------------:-------:allow" {
		t.Errorf("%s, %v", own.text(listNFSv4), differs)
	}
}

// TestACLNotes: what makes no sense, and names that nobody has, are noted.
func TestACLNotes(t *testing.T) {
	_, sum, err := unpackInto(t, archive(
		m{name: "a", pax: map[string]string{"SCHILY.acl.access": "nonsense"}},
		m{name: "b", pax: map[string]string{"SCHILY.acl.access": "user::rw-,user:nobody-has-this-name:r--,group::r--,mask::r--,other::r--"}},
		m{name: "c", pax: map[string]string{"SCHILY.acl.weird": "user::rw-"}},
	))
	if err != nil {
		t.Fatal(err)
	}
	var noted []string
	for _, n := range sum.Notes {
		noted = append(noted, strings.Trim(n.Entry, "/"))
	}
	if got := strings.Join(noted, ""); got != "acb" {
		t.Errorf("%+v", sum.Notes)
	}
}

// TestACLEntry: the text an archiver wrote for all holds before Linux's attribute.
func TestACLEntry(t *testing.T) {
	attr := string("\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x04\x00\x04\x00\xff\xff\xff\xff\x20\x00\x00\x00\xff\xff\xff\xff")
	layer := archive(
		m{name: "a", pax: map[string]string{"SCHILY.xattr.system.posix_acl_access": attr}},
		m{name: "b", pax: map[string]string{"SCHILY.xattr.system.posix_acl_access": attr, "SCHILY.acl.access": "user::---"}},
		m{name: "c", pax: map[string]string{"SCHILY.xattr.system.posix_acl_access": "bad"}},
	)
	var got []string
	for e, err := range List(context.Background(), bytes.NewReader(layer), Limits{}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.ACLs["access"], e.Xattrs["system.posix_acl_access"])
	}
	if want := []string{"user::rw-,group::r--,other::---", "", "user::---", "", "", "bad"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
}

// FuzzACL: what is parsed and written again is the same.
func FuzzACL(f *testing.F) {
	f.Add(listAccess, "user::rw-,user:www:r--:80,group::r--,mask::r--,other::---")
	f.Add(listNFSv4, "owner@:rw-p--aARWcCos:-------:allow,user:www:rwx-----------:fd-----:deny:80")
	f.Fuzz(func(t *testing.T, list, text string) {
		if a, err := parseACLAttr(text); err == nil && a.attr() != text && !strings.Contains(text, "\xff") {
			b, err := parseACLAttr(a.attr()) // ids of entries that have none are not kept
			if err != nil || !reflect.DeepEqual(a, b) {
				t.Errorf("%q: %q", text, a.attr())
			}
		}
		a, err := parseACL(list, text)
		if err != nil {
			return
		}
		for _, e := range a {
			if e.name != "" { // written as ids only
				return
			}
		}
		b, err := parseACL(list, a.text(list))
		if err != nil || !reflect.DeepEqual(a, b) {
			t.Errorf("%q: %q, %v", text, a.text(list), err)
		}
		var k kernelACL
		if err := k.put(a); err != nil || len(a) > 0 && !reflect.DeepEqual(k.get(), a) {
			t.Errorf("%q: %v", text, err)
		}
	})
}
