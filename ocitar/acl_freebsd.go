package ocitar

import "errors"

// setACL: lists are not restored on FreeBSD yet, and noted.
func setACL(int, bool, string, string) error { return errors.ErrUnsupported }
