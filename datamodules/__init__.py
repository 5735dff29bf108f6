"""Data: what every data set needs; packages for the data sets, assets, injection, object pictures and the world."""
