#include "message.h"

const MQTTProperty *cli_property(const MQTTProperties *all, enum MQTTPropertyCodes name)
{
    for (int i = 0; i < all->count; i++) {
        if (all->array[i].identifier == name)
            return &all->array[i];
    }
    return NULL;
}

struct sl_bytes cli_property_bytes(const MQTTProperties *all, enum MQTTPropertyCodes name)
{
    const MQTTProperty *p = cli_property(all, name);
    return p == NULL ? SL_BYTES_NONE : cli_len_string(p->value.data);
}
