package tenant

import "testing"

func TestUnbranded(t *testing.T) {
	for head, want := range map[string]bool{
		"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00": true,
		"\x7fELF\x02\x01\x01\x09\x00\x00\x00\x00\x00\x00\x00\x00": false, // FreeBSD
		"\x7fELF\x02\x01\x01\x03\x00\x00\x00\x00\x00\x00\x00\x00": false, // Linux
		"#!/bin/sh\nexec true": false,
		"\x7fELF":              false,
		"":                     false,
	} {
		if got := unbranded([]byte(head)); got != want {
			t.Errorf("%q: %v", head, got)
		}
	}
}

func TestWhyUnbranded(t *testing.T) {
	const first = "the kernel does not know the system it is for; "
	for linuxulator, want := range map[bool]string{
		false: first + "programs for Linux need the Linuxulator: service linux onestart",
		true:  first + "static programs for Linux need: sysctl kern.elf64.fallback_brand=3 (service linux onestart does it)",
	} {
		if got := whyUnbranded(linuxulator); got != want {
			t.Errorf("loaded: %v: %q", linuxulator, got)
		}
	}
}
