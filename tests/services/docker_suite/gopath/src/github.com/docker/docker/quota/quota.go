// Package quota stands for one of Docker's that Debian does not package: the part that the suite names.
package quota

import "errors"

// ErrQuotaNotSupported is what a driver without quotas answers.
var ErrQuotaNotSupported = errors.New("no quota")
