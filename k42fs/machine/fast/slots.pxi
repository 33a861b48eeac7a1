# Slots of Python objects, read and written where they lie. Threads and processors are ordinary Python classes, whose
# slots Python code reads faster than any attribute of a compiled class; compiled code finds them by their offsets,
# which the descriptors in their classes know. Whoever uses these has made sure of the object's class.

cdef extern from *:
    """
    #include "structmember.h"

    /* Return where the slot is that *descr* describes; -1 with an exception if it is no slot. */
    static Py_ssize_t slot_offset(PyObject *descr) {
        if (!PyObject_TypeCheck(descr, &PyMemberDescr_Type)) {
            PyErr_Format(PyExc_TypeError, "%R is no slot", descr);
            return -1;
        }
        return ((PyMemberDescrObject *) descr)->d_member->offset;
    }

    #define SLOT(object, offset) (*(PyObject **) ((char *) (object) + (offset)))

    /* Return a borrowed reference; NULL with an exception if the slot is empty. */
    static inline PyObject *get_slot(PyObject *object, Py_ssize_t offset) {
        PyObject *value = SLOT(object, offset);
        if (!value) PyErr_Format(PyExc_AttributeError, "%R has an empty slot", (PyObject *) Py_TYPE(object));
        return value;
    }

    static inline void set_slot(PyObject *object, Py_ssize_t offset, PyObject *value) {
        PyObject *old = SLOT(object, offset);
        Py_INCREF(value);
        SLOT(object, offset) = value;
        Py_XDECREF(old);
    }

    static inline PY_LONG_LONG get_int_slot(PyObject *object, Py_ssize_t offset) {
        PyObject *value = get_slot(object, offset);
        return value ? PyLong_AsLongLong(value) : -1;
    }

    static inline int set_int_slot(PyObject *object, Py_ssize_t offset, PY_LONG_LONG number) {
        PyObject *old, *value = PyLong_FromLongLong(number);
        if (!value) return -1;
        old = SLOT(object, offset);
        SLOT(object, offset) = value;
        Py_XDECREF(old);
        return 0;
    }

    /* Say whether *object* is of the class *type* or one derived from it; otherwise there is an exception. */
    static inline int of_class(PyObject *object, PyObject *type) {
        if (PyObject_TypeCheck(object, (PyTypeObject *) type)) return 0;
        PyErr_Format(PyExc_TypeError, "%R is not of %R", object, type);
        return -1;
    }
    """
    Py_ssize_t slot_offset(object descr) except -1
    PyObject *get_slot(object o, Py_ssize_t offset) except NULL
    void set_slot(object o, Py_ssize_t offset, object value)
    int64_t get_int_slot(object o, Py_ssize_t offset) except? -1
    int set_int_slot(object o, Py_ssize_t offset, int64_t number) except -1
    int of_class(object o, object type) except -1
