// Package environ makes runtime environments: what the worker processes of a
// task need beyond its program. A description is JSON with the fields that Ray's
// has; a driver has uploaded its own folders and named the packages.
//
// An environment is made of pieces: an unpacked archive, an installed wheel, a
// virtual environment with packages. Each is built once, by a process that runs
// weft._build with the driver's interpreter, while all who need it wait, and
// lies in a folder of its own. What no process uses any more is kept for the
// next, the least recently used going first when all of it is too large.
package environ
