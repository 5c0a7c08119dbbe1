package confine

import (
	"context"
	"io"

	"github.com/joyboyid/xc/inroot"
	"github.com/joyboyid/xc/ocitar"
)

// Direct is Unpack in this process, unconfined.
func (c *Child) Direct(ctx context.Context, root string, layer io.Reader) (ocitar.Summary, error) {
	u := ocitar.Unpacker{
		Limits: c.Limits, Whiteouts: c.Whiteouts, Devices: c.Devices,
		NoOwner: c.NoOwner, UIDs: c.UIDs, GIDs: c.GIDs,
		Into: c.Into, Plain: c.Plain, Merge: c.Merge,
	}
	for _, dir := range c.Lower {
		r, err := inroot.Open(dir)
		if err != nil {
			return ocitar.Summary{}, err
		}
		defer r.Close()
		u.Lower = append(u.Lower, r)
	}
	return u.Unpack(ctx, root, layer)
}
