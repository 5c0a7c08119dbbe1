package cli

import "testing"

func FuzzPublish(f *testing.F) {
	for _, s := range []string{"80", "127.0.0.1:8080:80/udp", "[::1]::1-2,from=10.0.0.0/8", "1-2:3-4/sctp,interface=a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePort(text)
		if err != nil {
			return
		}
		if p.Port == 0 || p.Protocol == "" {
			t.Errorf("%q: %+v", text, p)
		}
		plain := p
		plain.Sources, plain.Interface = nil, ""
		again, err := parsePort(plain.String())
		if err != nil || again.String() != plain.String() {
			t.Errorf("%q: %s, again %s, %v", text, plain, again, err)
		}
	})
}
